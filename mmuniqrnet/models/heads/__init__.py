from .box_branches import BoxBranch, PointingBoxBranch
from .box_refiner import BoxRefiner
from .decode_head_branch import DecodeHeadMaskBranch
from .dense_boxes import DenseBoxBranch
from .mask_branch import MaskBranch
from .pixel_guidance import PixelGuidance
from .score_branch import ScoreBranch
from .uniqrnet_head import UniQRNetHead

__all__ = [
    'BoxBranch',
    'BoxRefiner',
    'DecodeHeadMaskBranch',
    'DenseBoxBranch',
    'MaskBranch',
    'PixelGuidance',
    'PointingBoxBranch',
    'ScoreBranch',
    'UniQRNetHead',
]

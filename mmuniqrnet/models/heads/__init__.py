from .box_branches import BoxBranch, PointingBoxBranch
from .decode_head_branch import DecodeHeadMaskBranch
from .mask_branch import MaskBranch
from .pixel_guidance import PixelGuidance
from .score_branch import ScoreBranch
from .uniqrnet_head import UniQRNetHead

__all__ = [
    'BoxBranch',
    'DecodeHeadMaskBranch',
    'MaskBranch',
    'PixelGuidance',
    'PointingBoxBranch',
    'ScoreBranch',
    'UniQRNetHead',
]

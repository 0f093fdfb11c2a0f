from .box_branch import BoxBranch, ScoreBranch
from .box_mask_consistency import BoxMaskConsistencyLoss
from .decode_head_branch import DecodeHeadMaskBranch
from .loss_slots import LovaszMaskLoss
from .mask_branch import MaskBranch
from .pixel_guidance import PixelGuidance
from .pointing_box_branch import PointingBoxBranch
from .uniqrnet_head import UniQRNetHead

__all__ = [
    'BoxBranch',
    'ScoreBranch',
    'BoxMaskConsistencyLoss',
    'DecodeHeadMaskBranch',
    'LovaszMaskLoss',
    'MaskBranch',
    'PixelGuidance',
    'PointingBoxBranch',
    'UniQRNetHead',
]

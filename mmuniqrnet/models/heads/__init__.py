from .box_branch import BoxBranch, ScoreBranch
from .box_mask_consistency import BoxMaskConsistencyLoss
from .loss_slots import LovaszMaskLoss
from .mask_branch import MaskBranch
from .pixel_guidance import PixelGuidance
from .uniqrnet_head import UniQRNetHead

__all__ = [
    'BoxBranch', 'ScoreBranch', 'BoxMaskConsistencyLoss', 'LovaszMaskLoss', 'MaskBranch', 'PixelGuidance',
    'UniQRNetHead'
]

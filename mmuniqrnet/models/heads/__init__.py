from .box_branch import BoxBranch, ScoreBranch
from .mask_branch import MaskBranch
from .pixel_guidance import PixelGuidance
from .uniqrnet_head import UniQRNetHead

__all__ = ['BoxBranch', 'ScoreBranch', 'MaskBranch', 'PixelGuidance', 'UniQRNetHead']

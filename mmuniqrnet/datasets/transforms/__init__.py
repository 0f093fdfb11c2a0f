import mmcv.transforms  # noqa: F401  (registers mmcv's own, which configs name without a scope)

from .crop import GuardedCrop
from .flip import RandomFlipWithText, swap_left_right
from .formatting import PackReferInputs
from .load_once import LoadImageOnce
from .loading import LoadReferAnnotations
from .resize import ReferResize

__all__ = [
    'GuardedCrop',
    'LoadImageOnce',
    'LoadReferAnnotations',
    'RandomFlipWithText',
    'swap_left_right',
    'PackReferInputs',
    'ReferResize',
]

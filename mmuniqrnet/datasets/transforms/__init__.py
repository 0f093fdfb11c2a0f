import mmcv.transforms  # noqa: F401  (registers mmcv's own, which configs name without a scope)

from .formatting import PackReferInputs
from .geometry import GuardedCrop, RandomFlipWithText, ReferResize, swap_left_right
from .loading import LoadImageOnce, LoadReferAnnotations

__all__ = [
    'GuardedCrop',
    'LoadImageOnce',
    'LoadReferAnnotations',
    'PackReferInputs',
    'RandomFlipWithText',
    'ReferResize',
    'swap_left_right',
]

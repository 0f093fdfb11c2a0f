import mmcv.transforms  # noqa: F401  (registers mmcv's own, which configs name without a scope)

from .formatting import PackReferInputs
from .geometry import GuardedCrop, RandomFlipWithText, ReferResize
from .loading import LoadImageOnce, LoadReferAnnotations
from .mirrored_text import mirror_text, swap_left_right
from .place_words import crop_may_falsify
from .prepared import PreparedOnce

__all__ = [
    'GuardedCrop',
    'LoadImageOnce',
    'LoadReferAnnotations',
    'PackReferInputs',
    'PreparedOnce',
    'RandomFlipWithText',
    'ReferResize',
    'crop_may_falsify',
    'mirror_text',
    'swap_left_right',
]

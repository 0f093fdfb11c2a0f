import mmuniqrnet.registry  # noqa: F401  (before mmdet.datasets, which prints on import: registry.py silences it)

from .jsonl import ReferJsonlDataset, validate_jsonl
from .ref_l4 import RefL4Dataset
from .refcoco_m import RefCOCOMDataset
from .refer import ReferDataset
from .referit import ReferItDataset
from .refshapes import RefShapesDataset
from .reviewed import ReviewedReferDataset
from .samplers import SameImageSampler
from .text_blind import text_blind_accuracy, text_blind_by_set
from .transforms import GuardedCrop, LoadImageOnce, LoadReferAnnotations, PackReferInputs, RandomFlipWithText

__all__ = [
    'GuardedCrop',
    'LoadImageOnce',
    'LoadReferAnnotations',
    'PackReferInputs',
    'RandomFlipWithText',
    'RefCOCOMDataset',
    'RefL4Dataset',
    'RefShapesDataset',
    'ReferDataset',
    'ReferItDataset',
    'ReferJsonlDataset',
    'ReviewedReferDataset',
    'SameImageSampler',
    'text_blind_accuracy',
    'text_blind_by_set',
    'validate_jsonl',
]

from .jsonl import ReferJsonlDataset, validate_jsonl
from .refer import ReferDataset
from .referit import ReferItDataset
from .refshapes import RefShapesDataset
from .text_blind import text_blind_accuracy, text_blind_by_set
from .transforms import GuardedCrop, LoadReferAnnotations, PackReferInputs, RandomFlipWithText

__all__ = [
    'ReferDataset', 'ReferItDataset', 'ReferJsonlDataset', 'RefShapesDataset', 'validate_jsonl', 'text_blind_accuracy',
    'text_blind_by_set', 'GuardedCrop', 'LoadReferAnnotations', 'PackReferInputs', 'RandomFlipWithText'
]

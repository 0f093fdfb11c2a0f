from .jsonl import ReferJsonlDataset, validate_jsonl
from .refer import ReferDataset
from .referit import ReferItDataset
from .refshapes import RefShapesDataset
from .transforms import LoadReferAnnotations, PackReferInputs, RandomFlipWithText

__all__ = [
    'ReferDataset', 'ReferItDataset', 'ReferJsonlDataset', 'RefShapesDataset', 'validate_jsonl', 'LoadReferAnnotations',
    'PackReferInputs', 'RandomFlipWithText'
]

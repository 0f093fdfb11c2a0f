"""RefShapes: synthetic referring expressions that need no download."""

from .dataset import RefShapesDataset
from .storage import make_refshapes
from .vocabulary import VOCAB_DIR
from .writer import DEFAULT_NUM_IMAGES

__all__ = ['DEFAULT_NUM_IMAGES', 'VOCAB_DIR', 'RefShapesDataset', 'make_refshapes']

"""Small typed records that pass between modules, and their arithmetic."""

from .answers import Answer, best_index, is_refused
from .placement import Placement
from .text import SentenceConditioned, TextFeatures, call_with_sentence

__all__ = [
    'Answer',
    'Placement',
    'SentenceConditioned',
    'TextFeatures',
    'best_index',
    'call_with_sentence',
    'is_refused',
]

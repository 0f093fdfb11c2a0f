"""Small typed records that modules exchange, and functions that compute with them."""

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

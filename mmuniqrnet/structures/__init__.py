"""Small typed records that pass between modules, and their arithmetic."""

from .answers import Answer
from .placement import Placement
from .text import SentenceConditioned, TextFeatures, call_with_sentence

__all__ = ['Answer', 'Placement', 'SentenceConditioned', 'TextFeatures', 'call_with_sentence']

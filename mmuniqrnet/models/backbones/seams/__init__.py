"""Seams: how the stages of other libraries' backbones are run one by one, so that gates can act between them."""

from .base import OutputSeam, Seam, Tokens
from .find import find_seam

__all__ = ['OutputSeam', 'Seam', 'Tokens', 'find_seam']

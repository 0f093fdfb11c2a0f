"""Hooks for mmengine's Runner."""

from .load_check import CheckLoadHook
from .visualization import ReferringVisualizationHook

__all__ = ['CheckLoadHook', 'ReferringVisualizationHook']

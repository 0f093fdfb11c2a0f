"""Hooks for mmengine's Runner."""

from .gate_saturation import GateSaturationHook
from .load_check import CheckLoadHook
from .validation_check import CheckValidationHook
from .visualization import ReferringVisualizationHook

__all__ = ['CheckLoadHook', 'CheckValidationHook', 'GateSaturationHook', 'ReferringVisualizationHook']

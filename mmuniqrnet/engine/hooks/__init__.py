"""Hooks for mmengine's Runner."""

from .checkpoint import CheckpointHook
from .early_stopping import EarlyStoppingHook
from .gate_saturation import GateSaturationHook
from .load_check import CheckLoadHook
from .loss_check import CheckLossHook
from .loss_history import LossHistoryHook
from .matmul_precision import MatmulPrecisionHook
from .validation_check import CheckValidationHook
from .visualization import ReferringVisualizationHook

__all__ = [
    'CheckLoadHook',
    'CheckLossHook',
    'CheckValidationHook',
    'CheckpointHook',
    'EarlyStoppingHook',
    'GateSaturationHook',
    'LossHistoryHook',
    'MatmulPrecisionHook',
    'ReferringVisualizationHook',
]

"""What runs around the model in training: hooks, the optimiser's wrapper, and the strategies that balance losses."""

from .averaged_model import FastExpMomentumEMA
from .balance import BALANCE_STRATEGIES, BalanceStrategy, LossBalanceHook
from .hooks import (
    CheckLoadHook,
    CheckLossHook,
    CheckValidationHook,
    GateSaturationHook,
    LossHistoryHook,
    MatmulPrecisionHook,
    ReferringVisualizationHook,
)
from .loaded_lr import LoadedLrHook, LoadedLrOptimWrapperConstructor
from .optim_wrapper import Bf16OptimWrapper, ClippingOptimWrapper, gpu_has_bfloat16

__all__ = [
    'BALANCE_STRATEGIES',
    'BalanceStrategy',
    'Bf16OptimWrapper',
    'CheckLoadHook',
    'CheckLossHook',
    'CheckValidationHook',
    'ClippingOptimWrapper',
    'FastExpMomentumEMA',
    'GateSaturationHook',
    'LoadedLrHook',
    'LoadedLrOptimWrapperConstructor',
    'LossBalanceHook',
    'LossHistoryHook',
    'MatmulPrecisionHook',
    'ReferringVisualizationHook',
    'gpu_has_bfloat16',
]

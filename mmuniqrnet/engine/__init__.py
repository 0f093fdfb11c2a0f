"""What runs around the model in training: hooks and the strategies that balance losses."""

from .balance import BALANCE_STRATEGIES, BalanceStrategy, LossBalanceHook
from .hooks import CheckLoadHook, CheckValidationHook, ReferringVisualizationHook
from .loaded_lr import LoadedLrHook, LoadedLrOptimWrapperConstructor

__all__ = [
    'BALANCE_STRATEGIES',
    'BalanceStrategy',
    'CheckLoadHook',
    'CheckValidationHook',
    'LoadedLrHook',
    'LoadedLrOptimWrapperConstructor',
    'LossBalanceHook',
    'ReferringVisualizationHook',
]

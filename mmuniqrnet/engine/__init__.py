"""What runs around the model in training: hooks and the strategies that balance losses."""

from .balance import BALANCE_STRATEGIES, BalanceStrategy, LossBalanceHook
from .hooks import CheckLoadHook, CheckValidationHook, GateSaturationHook, ReferringVisualizationHook

__all__ = [
    'BALANCE_STRATEGIES',
    'BalanceStrategy',
    'CheckLoadHook',
    'CheckValidationHook',
    'GateSaturationHook',
    'LossBalanceHook',
    'ReferringVisualizationHook',
]

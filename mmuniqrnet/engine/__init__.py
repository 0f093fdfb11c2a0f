"""What runs around the model in training: hooks and the strategies that balance losses."""

from .balance_strategies import BALANCE_STRATEGIES, BalanceStrategy
from .hooks import CheckLoadHook, LossBalanceHook, ReferringVisualizationHook

__all__ = ['BALANCE_STRATEGIES', 'BalanceStrategy', 'CheckLoadHook', 'LossBalanceHook', 'ReferringVisualizationHook']

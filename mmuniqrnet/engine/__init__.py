"""What runs around the model in training: hooks and the strategies that balance losses."""
from .balance_strategies import BALANCE_STRATEGIES, BalanceStrategy
from .hooks import LossBalanceHook, ReferringVisualizationHook

__all__ = ['BALANCE_STRATEGIES', 'BalanceStrategy', 'LossBalanceHook', 'ReferringVisualizationHook']

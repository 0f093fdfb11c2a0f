"""Balancing the losses of tasks: the hook, and the strategies it asks for weights."""

from .hook import LossBalanceHook
from .strategies import BALANCE_STRATEGIES, BalanceStrategy

__all__ = ['BALANCE_STRATEGIES', 'BalanceStrategy', 'LossBalanceHook']

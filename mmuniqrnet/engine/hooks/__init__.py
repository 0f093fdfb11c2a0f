"""Hooks for mmengine's Runner."""
from .loss_balance import LossBalanceHook

__all__ = ['LossBalanceHook']

"""Hooks for mmengine's Runner."""
from .loss_balance import LossBalanceHook
from .visualization import ReferringVisualizationHook

__all__ = ['LossBalanceHook', 'ReferringVisualizationHook']

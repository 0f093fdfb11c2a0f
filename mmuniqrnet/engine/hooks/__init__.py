"""Hooks for mmengine's Runner."""

from .load_check import CheckLoadHook
from .loss_balance import LossBalanceHook
from .visualization import ReferringVisualizationHook

__all__ = ['CheckLoadHook', 'LossBalanceHook', 'ReferringVisualizationHook']

"""What runs around the model in training: hooks, the optimiser's wrapper, and the strategies that balance losses."""

from .balance import BALANCE_STRATEGIES, BalanceStrategy, LossBalanceHook
from .compile_blocks import CompileBlocksHook, compile_blocks
from .hooks import (
    CheckLoadHook,
    CheckLossHook,
    CheckValidationHook,
    GateSaturationHook,
    MatmulPrecisionHook,
    ReferringVisualizationHook,
)
from .loaded_lr import LoadedLrHook, LoadedLrOptimWrapperConstructor
from .optim_wrapper import Bf16OptimWrapper, gpu_has_bfloat16

__all__ = [
    'BALANCE_STRATEGIES',
    'BalanceStrategy',
    'Bf16OptimWrapper',
    'CheckLoadHook',
    'CheckLossHook',
    'CheckValidationHook',
    'CompileBlocksHook',
    'GateSaturationHook',
    'LoadedLrHook',
    'LoadedLrOptimWrapperConstructor',
    'LossBalanceHook',
    'MatmulPrecisionHook',
    'ReferringVisualizationHook',
    'compile_blocks',
    'gpu_has_bfloat16',
]

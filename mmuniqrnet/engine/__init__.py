"""What runs around the model in training: hooks, the optimiser's wrapper, and the strategies that balance losses."""

from .averaged_model import FastExpMomentumEMA
from .balance import BALANCE_STRATEGIES, BalanceStrategy, LossBalanceHook
from .compile_blocks import CompileBlocksHook, compile_blocks, keep_less
from .hooks import (
    CheckLoadHook,
    CheckLossHook,
    CheckpointHook,
    CheckValidationHook,
    EarlyStoppingHook,
    GateSaturationHook,
    LossHistoryHook,
    MatmulPrecisionHook,
    ReferringVisualizationHook,
)
from .loaded_lr import LoadedLrHook, LoadedLrOptimWrapperConstructor
from .loops import ResumableEpochLoop, ResumableIterLoop, TrainingStopped
from .optim_wrapper import Bf16OptimWrapper, ClippingOptimWrapper, gpu_has_bfloat16
from .process_group import prepare_distributed

__all__ = [
    'BALANCE_STRATEGIES',
    'BalanceStrategy',
    'Bf16OptimWrapper',
    'CheckLoadHook',
    'CheckLossHook',
    'CheckValidationHook',
    'CheckpointHook',
    'ClippingOptimWrapper',
    'CompileBlocksHook',
    'EarlyStoppingHook',
    'FastExpMomentumEMA',
    'GateSaturationHook',
    'LoadedLrHook',
    'LoadedLrOptimWrapperConstructor',
    'LossBalanceHook',
    'LossHistoryHook',
    'MatmulPrecisionHook',
    'ReferringVisualizationHook',
    'ResumableEpochLoop',
    'ResumableIterLoop',
    'TrainingStopped',
    'compile_blocks',
    'gpu_has_bfloat16',
    'keep_less',
    'prepare_distributed',
]

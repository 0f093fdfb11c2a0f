"""Training loops that stop when a scheduler asks them to, and resume exactly where they stopped."""

from .batches import SeededBatch, SeededBatchSampler
from .stop_signals import StopSignals, TrainingStopped
from .train_loops import ResumableEpochLoop, ResumableIterLoop

__all__ = [
    'ResumableEpochLoop',
    'ResumableIterLoop',
    'SeededBatch',
    'SeededBatchSampler',
    'StopSignals',
    'TrainingStopped',
]

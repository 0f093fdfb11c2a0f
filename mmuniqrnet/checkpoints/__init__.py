"""Checkpoints: other layouts in and out, and loading that says when something does not fit."""

from mmuniqrnet.compat import allow_mmengine_checkpoints

from .files import CheckpointError, read_checkpoint, state_dict_of
from .fit import Fit, judge
from .initializer import LoudPretrainedInit
from .loading import check_fit, load_swin

__all__ = [
    'CheckpointError',
    'read_checkpoint',
    'state_dict_of',
    'Fit',
    'judge',
    'check_fit',
    'load_swin',
    'LoudPretrainedInit',
    'allow_mmengine_checkpoints',
]

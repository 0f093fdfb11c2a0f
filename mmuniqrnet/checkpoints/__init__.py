"""Checkpoints: other layouts in and out, and loading that says when something does not fit."""

from mmuniqrnet.utils.compat import allow_mmengine_checkpoints
from mmuniqrnet.utils.errors import CheckpointError

from .file_io import read_checkpoint, state_dict_of
from .fit import Fit, judge
from .loading import LoudPretrainedInit, check_fit, load_swin

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

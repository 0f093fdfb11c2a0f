"""Checkpoints: reading and writing files, converting layouts, and loading that refuses weights that do not fit."""

from mmuniqrnet.utils.compat import allow_mmengine_checkpoints
from mmuniqrnet.utils.errors import CheckpointError

from .file_io import read_checkpoint, state_dict_of
from .fit import FitReport, compare_state_dicts
from .loading import CheckedPretrainedInit, check_fit, load_swin

__all__ = [
    'CheckpointError',
    'read_checkpoint',
    'state_dict_of',
    'FitReport',
    'compare_state_dicts',
    'check_fit',
    'load_swin',
    'CheckedPretrainedInit',
    'allow_mmengine_checkpoints',
]

"""Checkpoints: reading and writing files, converting layouts, and loading that refuses weights that do not fit."""

from mmuniqrnet.utils.compat import allow_mmengine_checkpoints
from mmuniqrnet.utils.deprecation import moved_names
from mmuniqrnet.utils.errors import CheckpointError

from .file_io import read_checkpoint, state_dict_of
from .fit import FitReport, compare_state_dicts
from .loading import CheckedPretrainedInit, check_fit, load_swin

__all__ = [
    'CheckedPretrainedInit',
    'CheckpointError',
    'FitReport',
    'allow_mmengine_checkpoints',
    'check_fit',
    'compare_state_dicts',
    'load_swin',
    'read_checkpoint',
    'state_dict_of',
]

# Old names, for one release.
__getattr__ = moved_names(
    __name__,
    {
        'Fit': 'mmuniqrnet.checkpoints:FitReport',
        'judge': 'mmuniqrnet.checkpoints:compare_state_dicts',
        'LoudPretrainedInit': 'mmuniqrnet.checkpoints:CheckedPretrainedInit',
    },
)

"""Reading config files and applying options to them, as every tool does."""

from .arguments import (
    CFG_OPTIONS_HELP,
    add_cfg_options,
    add_launcher,
    add_source_and_target,
    positive_int,
    set_launcher,
)
from .loading import load_config

__all__ = [
    'CFG_OPTIONS_HELP',
    'add_cfg_options',
    'add_launcher',
    'add_source_and_target',
    'load_config',
    'positive_int',
    'set_launcher',
]

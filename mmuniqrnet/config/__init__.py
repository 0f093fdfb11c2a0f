"""Reading config files and applying options to them, as every tool does."""

from .arguments import arguments_of, find_part
from .best_rules import check_best_rules
from .command_line import (
    CFG_OPTIONS_HELP,
    add_cfg_options,
    add_source_and_target,
    positive_int,
)
from .launcher import add_launcher, set_launcher
from .loading import load_config
from .options import merge_options
from .unknown_types import naming_unknown_types

__all__ = [
    'CFG_OPTIONS_HELP',
    'add_cfg_options',
    'add_launcher',
    'add_source_and_target',
    'arguments_of',
    'check_best_rules',
    'find_part',
    'load_config',
    'merge_options',
    'naming_unknown_types',
    'positive_int',
    'set_launcher',
]

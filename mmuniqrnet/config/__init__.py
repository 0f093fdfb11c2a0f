"""Reading config files and applying options to them, as every tool does."""

from .arguments import arguments_of, find_part
from .loading import load_config
from .options import merge_options

__all__ = ['arguments_of', 'find_part', 'load_config', 'merge_options']

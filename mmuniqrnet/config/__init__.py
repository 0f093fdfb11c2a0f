"""Reading config files and applying options to them, as every tool does."""

from .loading import load_config

__all__ = ['load_config']

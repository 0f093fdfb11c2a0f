"""UniQRNet for OpenMMLab: one network that answers a phrase with the box and the mask of what it names."""
import sys

from .version import __version__

__all__ = ['__version__']

# `python -m mmuniqrnet.env` imports this package first, and must run where the check fails: it is there to say why.
# While `-m` still looks for its module, sys.argv[0] is '-m', and only orig_argv has the module's name.
if not (sys.argv[:1] == ['-m'] and 'mmuniqrnet.env' in sys.orig_argv):
    from .env import require_working_installation
    require_working_installation()

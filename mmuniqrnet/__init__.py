"""UniQRNet for OpenMMLab: one network that answers a phrase with the box and the mask of what it names."""

import sys
from pathlib import PurePath

from .version import __version__

__all__ = ['__version__']

# `python -m mmuniqrnet.env` and `mmuniqrnet env` import this package first, and must run where the check fails: they
# are there to say why. While `-m` still looks for its module, sys.argv[0] is '-m', and only orig_argv has its name.
_asks_why = (
    sys.argv[:1] == ['-m']
    and 'mmuniqrnet.env' in sys.orig_argv
    or (sys.argv[1:2] == ['env'] and PurePath(sys.argv[0]).name == 'mmuniqrnet')
)
if not _asks_why:
    from .utils.env import require_working_installation

    require_working_installation()

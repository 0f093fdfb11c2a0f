"""UniQRNet for OpenMMLab: joint referring expression comprehension (box) and segmentation (mask)."""

import sys
from pathlib import PurePath

from .version import __version__

__all__ = ['__version__']

# `python -m mmuniqrnet.env` and `mmuniqrnet env` explain why the check below fails, so they must run without it,
# although they import this package first. While `-m` looks for its module, sys.argv[0] is '-m'; only orig_argv has the
# name.
_is_env_report = (sys.argv[:1] == ['-m'] and 'mmuniqrnet.env' in sys.orig_argv) or (
    sys.argv[1:2] == ['env'] and PurePath(sys.argv[0]).name == 'mmuniqrnet'
)
if not _is_env_report:
    from .utils.env import require_working_installation

    require_working_installation()

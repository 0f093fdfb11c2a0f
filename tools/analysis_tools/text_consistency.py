"""The old name of feature_localization.py, for one release."""

import warnings

from feature_localization import main

from mmuniqrnet.utils.errors import run_tool

if __name__ == '__main__':
    warnings.warn(
        'text_consistency.py is now feature_localization.py; this name works in this release only.', stacklevel=1
    )
    run_tool(main)

"""The old name of feature_localization.py, for one release."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from mmuniqrnet.utils.errors import run_tool

sys.path.insert(0, str(Path(__file__).parent))  # tools/ is no package

import feature_localization
from feature_localization import parse_args  # noqa: F401  (every tool has it)


def main(argv: Sequence[str] | None = None) -> list[dict]:
    warnings.warn(
        'text_consistency.py is now feature_localization.py; this name works in this release only.', stacklevel=1
    )
    return feature_localization.main(argv)


if __name__ == '__main__':
    run_tool(main)

"""Make referring expressions from detection data: the same as ``mmuniqrnet describe``.

python tools/dataset_tools/describe.py instances.json train.jsonl --images images/ --per-object 3
"""

import argparse
import sys
from collections.abc import Sequence

from mmuniqrnet.commands.describe import add_arguments, describe
from mmuniqrnet.utils.errors import run_tool


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Make referring expressions from detection data.')
    add_arguments(parser)
    return describe(parser.parse_args(argv))


if __name__ == '__main__':
    run_tool(lambda: sys.exit(main()))

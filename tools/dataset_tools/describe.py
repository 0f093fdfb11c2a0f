"""Make referring expressions from detection data: the same as ``mmuniqrnet describe``.

python tools/dataset_tools/describe.py instances.json train.jsonl --images images/ --per-object 3
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.commands.describe import add_arguments, describe
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make referring expressions from detection data.')
    add_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    describe(parse_args(argv))


if __name__ == '__main__':
    run_tool(main)

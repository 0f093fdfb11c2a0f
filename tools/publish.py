"""Publish the weights of a training as one safetensors file:

    python tools/publish.py CHECKPOINT OUT.safetensors [--config CONFIG] [--command ...] [--results results.json]

The file holds only the weights (those averaged by EMA, if there are any), and as metadata a config that needs no
other file, the seed, and the values of --command and --results. UniQRNetInferencer(weights=OUT) needs nothing else.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmuniqrnet.export.publish import publish
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Publish the weights of a training as safetensors.')
    parser.add_argument('checkpoint', help='checkpoint file of a training')
    parser.add_argument('target', metavar='OUT.safetensors', help='file to write')
    parser.add_argument('--config', help='config of the training (default: the one that the checkpoint holds)')
    parser.add_argument('--command', help='command that made the weights, to be kept with them')
    parser.add_argument(
        '--results', metavar='results.json', help='results that tools/test.py wrote, to be kept with the weights'
    )
    parser.add_argument('--figures', dest='old_results', help=argparse.SUPPRESS)
    parser.add_argument('--overwrite', action='store_true', help='replace OUT.safetensors if it exists')
    args = parser.parse_args(argv)
    if args.old_results is not None:
        print('note: --figures is now --results; the old name works in this release only.', file=sys.stderr)
        args.results = args.results or args.old_results
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    words = publish(args.checkpoint, args.target, args.config, args.command, args.results, args.overwrite)
    size = Path(args.target).expanduser().stat().st_size / 1e6
    print(f'{args.target}: {size:.1f} MB, weights {words["weights"]}, seed {words.get("seed", "not known")}')
    missing = [option for option, key in (('command', 'command'), ('results', 'figures')) if key not in words]
    if missing:
        print(f'the file does not tell its {" and ".join(missing)} (--{", --".join(missing)})')


if __name__ == '__main__':
    run_tool(main)

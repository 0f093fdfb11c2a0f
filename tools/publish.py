"""Publish the weights of a training as one safetensors file:

    python tools/publish.py CHECKPOINT OUT.safetensors [--config CONFIG] [--command ...] [--results results.json]
        [--words FILE | --words-from-data] [--made-for ...]

The file holds only the weights (those averaged by EMA, if there are any), and as metadata a config that needs no
other file, the seed, the words of the training text, and the values of --command, --results and --made-for.
UniQRNetInferencer(weights=OUT) needs nothing else.
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
    words = parser.add_mutually_exclusive_group()
    words.add_argument(
        '--words', metavar='FILE', help='text file of expressions that were trained on: their words are kept'
    )
    words.add_argument(
        '--words-from-data', action='store_true', help="keep the words of the config's training data, which is read"
    )
    parser.add_argument('--made-for', metavar='TEXT', help='what pictures the weights are for, such as "street scenes"')
    parser.add_argument('--figures', dest='old_results', help=argparse.SUPPRESS)
    parser.add_argument('--overwrite', action='store_true', help='replace OUT.safetensors if it exists')
    args = parser.parse_args(argv)
    if args.old_results is not None:
        print('note: --figures is now --results; the old name works in this release only.', file=sys.stderr)
        args.results = args.results or args.old_results
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    told = publish(
        args.checkpoint,
        args.target,
        args.config,
        args.command,
        args.results,
        args.overwrite,
        args.words,
        args.words_from_data,
        args.made_for,
    )
    size = Path(args.target).expanduser().stat().st_size / 1e6
    print(f'{args.target}: {size:.1f} MB, weights {told["weights"]}, seed {told.get("seed", "not known")}')
    if 'words' in told:
        print(f'words of the training text: {len(told["words"].split())}')
    keys = dict(command='command', results='figures', words='words', made_for='made_for')
    missing = [option.replace('_', '-') for option, key in keys.items() if key not in told]
    if missing:
        print(f'the file does not tell: {", ".join(missing)} (--{", --".join(missing)})')


if __name__ == '__main__':
    run_tool(main)

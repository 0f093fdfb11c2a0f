"""Publish the weights of a training: python tools/publish.py CHECKPOINT OUT.safetensors [--config CONFIG] [--command ...]

The file holds the weights alone (those averaged by EMA, if there are any), and as metadata a config that needs no
other file, the seed, and what --command and --figures tell. UniQRNetInferencer(weights=OUT) needs nothing else.
"""

import argparse
from pathlib import Path

from mmuniqrnet.export.publish import publish
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Publish the weights of a training as safetensors.')
    parser.add_argument('checkpoint', help='checkpoint file of a training')
    parser.add_argument('target', metavar='OUT.safetensors', help='file to write')
    parser.add_argument('--config', help='config of the training (default: the one that the checkpoint holds)')
    parser.add_argument('--command', help='command that made the weights, to be kept with them')
    parser.add_argument('--figures', metavar='results.json', help='figures of tools/test.py, to be kept with them')
    parser.add_argument('--overwrite', action='store_true', help='write OUT.safetensors even if it is there already')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    words = publish(args.checkpoint, args.target, args.config, args.command, args.figures, args.overwrite)
    size = Path(args.target).expanduser().stat().st_size / 1e6
    print(f'{args.target}: {size:.1f} MB, weights {words["weights"]}, seed {words.get("seed", "not known")}')
    unknown = [name for name in ('command', 'figures') if name not in words]
    if unknown:
        print(f'it does not say its {" and ".join(unknown)} (--{", --".join(unknown)})')


if __name__ == '__main__':
    run_tool(main)

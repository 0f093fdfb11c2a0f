"""Publish the weights of a training as one safetensors file:

    python tools/publish.py CHECKPOINT OUT.safetensors [--config CONFIG] [--command ...] [--results results.json]
        [--words FILE | --words-from-data] [--made-for ...] [--half]
    python tools/publish.py CHECKPOINT [FOLDER] --push ORG/NAME --license LICENCE [--dry-run] ...

The file holds only the weights (those averaged by EMA, if there are any), and as metadata a config that needs no
other file, the seed, the words of the training text, and the values of --command, --results and --made-for.
UniQRNetInferencer(weights=OUT) needs nothing else.

--push uploads the file to the Hugging Face hub, with a model card of what is known and a config.json; with --dry-run
the folder is only written. UniQRNetInferencer(weights='hf://ORG/NAME') then finds it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmuniqrnet.export.hub_folder import WEIGHTS, check_repo, new_folder, write_about
from mmuniqrnet.export.publish import publish
from mmuniqrnet.utils.errors import UserError, run_tool
from mmuniqrnet.utils.hub import upload


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Publish the weights of a training as safetensors.')
    parser.add_argument('checkpoint', help='checkpoint file of a training')
    parser.add_argument(
        'target', metavar='OUT', nargs='?', help='file to write (.safetensors); with --push, a folder (default: NAME)'
    )
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
    parser.add_argument('--half', action='store_true', help='write matrices and kernels in float16: half the size')
    parser.add_argument('--push', metavar='ORG/NAME', help='upload to the Hugging Face hub, with a model card')
    parser.add_argument('--license', metavar='LICENCE', help="of the weights, as the hub names it: 'apache-2.0'")
    parser.add_argument('--private', action='store_true', help='make the repository of --push private')
    parser.add_argument('--dry-run', action='store_true', help='with --push: write the folder, and upload nothing')
    parser.add_argument('--figures', dest='old_results', help=argparse.SUPPRESS)
    parser.add_argument('--overwrite', action='store_true', help='replace OUT.safetensors if it exists')
    args = parser.parse_args(argv)
    if args.old_results is not None:
        print('note: --figures is now --results; the old name works in this release only.', file=sys.stderr)
        args.results = args.results or args.old_results
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    target = target_of(args)
    told = publish(
        args.checkpoint,
        target,
        args.config,
        args.command,
        args.results,
        args.overwrite,
        args.words,
        args.words_from_data,
        args.made_for,
        args.half,
    )
    size = target.stat().st_size / 1e6
    print(f'{target}: {size:.1f} MB, weights {told["weights"]}, seed {told.get("seed", "not known")}')
    if 'words' in told:
        print(f'words of the training text: {len(told["words"].split())}')
    keys = dict(command='command', results='figures', words='words', made_for='made_for')
    missing = [option.replace('_', '-') for option, key in keys.items() if key not in told]
    if missing:
        print(f'the file does not tell: {", ".join(missing)} (--{", --".join(missing)})')
    if args.push is None:
        return
    write_about(target.parent, args.push, told, args.license)
    print(f'{target.parent}: {", ".join(sorted(path.name for path in target.parent.iterdir()))}')
    if not args.dry_run:
        print(f'uploaded to {upload(target.parent, args.push, args.private)}')


def target_of(args: argparse.Namespace) -> Path:
    """The file to write; with --push, it is in a new folder."""
    if args.push is None:
        for option in ('license', 'private', 'dry_run'):
            if getattr(args, option):
                raise UserError(f'--{option.replace("_", "-")} is for --push: add --push ORG/NAME, or leave it out.')
        if args.target is None:
            raise UserError('give OUT.safetensors, the file to write, or --push ORG/NAME.')
        return Path(args.target).expanduser()
    check_repo(args.push)
    if args.license is None:
        raise UserError('--push: say under which licence the weights are, such as --license apache-2.0.')
    if args.overwrite:
        raise UserError('--overwrite is for OUT.safetensors; --push writes a new folder: leave it out.')
    return new_folder(args.target or args.push.partition('/')[2]) / WEIGHTS


if __name__ == '__main__':
    run_tool(main)

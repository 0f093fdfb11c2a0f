"""Check a JSON Lines file of referring expressions, the input of ``ReferJsonlDataset``.

    python tools/dataset_tools/validate.py FILE.jsonl [--images FOLDER]

The exit status is 1 if the file has problems.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.datasets.jsonl import validate_jsonl
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Check a JSON Lines file of referring expressions.')
    parser.add_argument('file', help='the JSON Lines file')
    parser.add_argument('--images', help='folder of the images; without it, only the file itself is checked')
    parser.add_argument('--masks', help='folder of masks given as paths (default: the folder of the images)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    problems = validate_jsonl(args.file, args.images or '', args.masks, open_images=args.images is not None)
    for problem in problems:
        print(f'{args.file}: {problem}')
    print(f'{args.file}: {len(problems)} problem(s)' if problems else f'{args.file}: no problems')
    if problems:
        raise SystemExit(1)


if __name__ == '__main__':
    run_tool(main)

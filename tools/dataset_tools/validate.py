"""Check a JSON Lines file of referring expressions, the input of ``ReferJsonlDataset``; exit 1 if it has problems."""

import argparse
import sys
from collections.abc import Sequence

from mmuniqrnet.datasets.jsonl import validate_jsonl


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('file', help='the JSON Lines file')
    parser.add_argument('--images', help='folder of the images; without it, only the file itself is checked')
    parser.add_argument('--masks', help='folder of masks given as paths (default: that of the images)')
    args = parser.parse_args(arguments)
    try:
        problems = validate_jsonl(args.file, args.images or '', args.masks, open_images=args.images is not None)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    for problem in problems:
        print(f'{args.file}: {problem}')
    print(f'{args.file}: {len(problems)} problem(s)' if problems else f'{args.file}: no problems')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())

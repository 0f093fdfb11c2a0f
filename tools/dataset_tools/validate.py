"""Check a JSON Lines file of referring expressions, the input of ``ReferJsonlDataset``.

    python tools/dataset_tools/validate.py FILE.jsonl [--images FOLDER]

With ``--images`` every image and mask is decoded. Problems stop training, and the exit status is 1. Notes say what may
be wrong: photographs that are shown turned by their EXIF orientation, boxes that hardly overlap their masks, and
expressions that are given to two objects.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.datasets.jsonl import read_and_validate
from mmuniqrnet.datasets.jsonl_validation import different_boxes
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Check a JSON Lines file of referring expressions.')
    parser.add_argument('file', help='the JSON Lines file')
    parser.add_argument('--images', help='folder of the images; without it, only the file itself is checked')
    parser.add_argument('--masks', help='folder of masks given as paths (default: the folder of the images)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    opened = args.images is not None
    records, problems, notes = read_and_validate(
        args.file, args.images or '', args.masks, open_images=opened, whole=opened
    )
    notes = [*notes, *different_boxes(records)]
    for problem in problems:
        print(f'{args.file}: {problem}')
    for note in notes:
        print(f'{args.file}: note: {note}')
    found = f'{len(problems)} problem(s)' if problems else 'no problems'
    print(f'{args.file}: {found}' + (f', {len(notes)} note(s)' if notes else ''))
    if problems:
        raise SystemExit(1)


if __name__ == '__main__':
    run_tool(main)

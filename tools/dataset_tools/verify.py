"""Compare data sets under a data root with the published ones, and boxes with masks and images.

    python tools/dataset_tools/verify.py data [--sets refcoco refcocog(umd)] [--no-images]

The exit status is 1 if anything differs.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.analysis import KNOWN_SETS, OFFICIAL_COUNTS, choose_sets, verify_set
from mmuniqrnet.utils.errors import UserError, run_tool
from mmuniqrnet.utils.tables import text_table

COUNTED = ('refs', 'expressions', 'images')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare data sets on disk with the published ones.')
    parser.add_argument('data_root', nargs='?', default='data', help='folder of the data sets (default: data)')
    parser.add_argument(
        '--sets', nargs='+', metavar='SET', help=f'of {", ".join(KNOWN_SETS)} (default: those that are present)'
    )
    parser.add_argument('--no-images', action='store_true', help='check only the annotations, not the images')
    parser.add_argument('--show', type=int, default=10, metavar='N', help='problems to list of a set (default: 10)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.show < 0:
        raise UserError(f'--show {args.show}: give the number of problems to list, 0 or more.')
    sets = choose_sets(args.sets)
    if args.sets is None:
        sets = [known for known in sets if not known.missing(args.data_root)]
    if not sets:
        raise UserError(
            f'{args.data_root} has the annotation files of none of {", ".join(KNOWN_SETS)}; '
            'tools/dataset_tools/prepare.py lists where they belong.'
        )
    results = [verify_set(known, args.data_root, check_images=not args.no_images) for known in sets]
    rows = []
    for result in results:
        for split, official in OFFICIAL_COUNTS[result.name].items():
            found = result.counts.get(split, {})
            counts = {what: f'{found.get(what, "-")} / {official.get(what, "?")}' for what in COUNTED}
            rows.append({'set': result.name, 'split': split, **counts})
    print('found / official:')
    print(text_table(rows, right=COUNTED))
    for result in results:
        checked = f'{result.objects_checked} objects'
        if not args.no_images:
            checked += f' and {result.images_checked} images'
        print(f'{result.name}: {"good" if result.good else "NOT as published"}, {checked} checked')
        for line in (*result.notes, *result.differences):
            print(f'  {line}')
        for line in result.problems[: args.show]:
            print(f'  {line}')
        if len(result.problems) > args.show:
            print(f'  and {len(result.problems) - args.show} more problems')
    if not all(result.good for result in results):
        raise SystemExit(1)


if __name__ == '__main__':
    run_tool(main)

"""Compare data sets under a data root with the published ones, and boxes with masks and images.

    python tools/dataset_tools/verify.py data [--sets refcoco refcocog(umd)] [--no-images]

Exit status 1 if anything differs.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.analysis import KNOWN_SETS, OFFICIAL_COUNTS, choose_sets, verify_set
from mmuniqrnet.utils.errors import UserError, run_tool


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description='Compare data sets on disk with the published ones.')
    parser.add_argument('data_root', nargs='?', default='data', help='default: data')
    parser.add_argument(
        '--sets', nargs='+', metavar='SET', help=f'of {", ".join(KNOWN_SETS)} (default: those that are there)'
    )
    parser.add_argument('--no-images', action='store_true', help='do not look at the images, only at the annotations')
    parser.add_argument('--show', type=int, default=10, metavar='N', help='problems to list of a set (default: 10)')
    args = parser.parse_args(argv)
    sets = choose_sets(args.sets)
    if args.sets is None:
        sets = [known for known in sets if not known.missing(args.data_root)]
    if not sets:
        raise UserError(
            f'{args.data_root} has the annotation files of none of {", ".join(KNOWN_SETS)}; '
            'tools/dataset_tools/prepare.py says where they belong.'
        )
    results = [verify_set(known, args.data_root, check_images=not args.no_images) for known in sets]
    print(f'{"set":18}{"split":7}{"refs":>17}{"expressions":>19}{"images":>17}   found / official')
    for result in results:
        for split, official in OFFICIAL_COUNTS[result.name].items():
            found = result.counts.get(split, {})
            cells = [
                f'{found.get(what, "-")} / {official.get(what, "?")}' for what in ('refs', 'expressions', 'images')
            ]
            print(f'{result.name:18}{split:7}{cells[0]:>17}{cells[1]:>19}{cells[2]:>17}')
    for result in results:
        looked_at = (
            f'{result.objects_checked} objects'
            + ('' if args.no_images else f' and {result.images_checked} images')
            + ' looked at'
        )
        print(f'{result.name}: {"good" if result.good else "NOT as published"}, {looked_at}')
        for line in result.differences:
            print(f'  {line}')
        for line in result.problems[: args.show]:
            print(f'  {line}')
        if len(result.problems) > args.show:
            print(f'  and {len(result.problems) - args.show} more problems')
    if not all(result.good for result in results):
        raise SystemExit(1)


if __name__ == '__main__':
    run_tool(main)

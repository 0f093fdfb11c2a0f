"""Compare the images of a training file with all val and test images of the four data sets.

    python tools/dataset_tools/leakage.py --data-root data --train 'data/refcoco/refs(unc).p' --split train
    python tools/dataset_tools/leakage.py --data-root data --out data/exclude.json

``--out`` writes the ids of all held-out COCO images, for ``filter_cfg=dict(exclude_img_ids='exclude.json')``.
The exit status is 1 if any image of the training file is a val or test image.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.analysis import KNOWN_SETS, find_leaks, held_out_images, training_images, write_exclusion_list
from mmuniqrnet.utils.errors import UserError, run_tool
from mmuniqrnet.utils.tables import text_table


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare training images with all val and test images.')
    parser.add_argument('--data-root', default='data', help='folder of the data sets (default: data)')
    parser.add_argument('--train', metavar='FILE', help='refs, COCO annotations, ReferItGame queries or JSON Lines')
    parser.add_argument('--split', help='the split of FILE that is trained on (default: all of it)')
    parser.add_argument(
        '--ids-of',
        choices=['coco', 'saiapr'],
        default='coco',
        help='which collection the image ids of FILE belong to: saiapr for ReferItGame (default: coco)',
    )
    parser.add_argument('--out', metavar='FILE.json', help='write the ids of all held-out images')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing --out')
    parser.add_argument(
        '--partial', action='store_true', help='continue if some of the data sets are missing; the result is partial'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.train is None and args.out is None:
        raise UserError('there is nothing to do: give --train FILE, --out FILE.json, or both.')
    if args.split is not None and args.train is None:
        raise UserError(f'--split {args.split} is the split of --train FILE: give the file, or leave --split out.')
    if args.overwrite and args.out is None:
        raise UserError('--overwrite is for --out FILE.json: give the file, or leave --overwrite out.')
    wanted = [known for known in KNOWN_SETS.values() if known.image_collection == args.ids_of]
    sets = [known for known in wanted if not known.missing(args.data_root)]
    lacking = [f'{known.name} ({", ".join(known.missing(args.data_root))})' for known in wanted if known not in sets]
    if lacking and not (args.partial and sets):
        raise UserError(
            f'{args.data_root} lacks {"; ".join(lacking)}: whether their val and test images are trained on can not '
            'be checked. Get these files, or give --partial to check the others alone.'
        )
    held_out = held_out_images(args.data_root, sets)
    ids = set() if args.train is None else training_images(args.train, args.split)
    leaks = find_leaks(ids, held_out)
    rows = [
        {'set': split.name, 'split': split.split, 'images': len(split.image_ids)}
        | ({} if args.train is None else {'trained on': len(found)})
        for split, found in leaks
    ]
    print(text_table(rows))
    for name in lacking:
        print(f'not compared: {name}')
    leaked = set().union(*(found for _, found in leaks))
    if args.train is not None:
        verdict = ': it LEAKS' if leaked else ''
        print(f'{args.train}: {len(leaked):,} of its {len(ids):,} images are held out{verdict}')
    if args.out is not None:
        print(f'{args.out}: {write_exclusion_list(args.out, held_out, args.overwrite):,} image ids written')
    if leaked:
        raise SystemExit(1)


if __name__ == '__main__':
    run_tool(main)

"""Makes RefShapes, the synthetic data set of referring expressions, in a folder."""

import argparse
import sys
import time

from mmuniqrnet.datasets.refshapes import DEFAULT_NUM_IMAGES, make_refshapes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', help="the data set's own folder, such as data/refshapes")
    parser.add_argument('--seed', type=int, default=0, help='another seed gives other data (default: 0)')
    for split, count in DEFAULT_NUM_IMAGES.items():
        parser.add_argument(f'--{split}', type=int, default=count, metavar='N', help=f'images (default: {count})')
    parser.add_argument(
        '--crowded', action='store_true', help='the harder setting: 5 to 7 objects an image, more twins'
    )
    parser.add_argument(
        '--no-target',
        type=float,
        default=0.0,
        metavar='SHARE',
        help='share of the expressions that fit no object, such as 0.2 (default: 0)',
    )
    parser.add_argument('--workers', type=int, help='processes to draw with (default: one a core, 8 at most)')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a RefShapes that was made with other settings'
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    start = time.perf_counter()
    try:
        info, created = make_refshapes(
            args.folder,
            seed=args.seed,
            num_images={split: getattr(args, split) for split in DEFAULT_NUM_IMAGES},
            crowded=args.crowded,
            no_target=args.no_target,
            workers=args.workers,
            overwrite=args.overwrite,
        )
    except (OSError, ValueError) as error:
        print(f'make_refshapes: {error}', file=sys.stderr)
        return 1
    if created:
        print(f'{args.folder}: made in {time.perf_counter() - start:.1f} s')
    else:
        print(f'{args.folder}: already there, made with the same settings')
    print('split   images  objects  expressions  text-blind Acc@0.5  kinds')
    for split, row in info['splits'].items():
        blind = '-' if row['text_blind_accuracy'] is None else f'{row["text_blind_accuracy"]:.2f}'
        kinds = ', '.join(f'{count} {kind}' for kind, count in row['kinds'].items() if count)
        print(f'{split:6} {row["images"]:7} {row["objects"]:8} {row["expressions"]:12} {blind:>19}  {kinds}')
    print(f'fingerprint {info["fingerprint"]}')
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""Make RefShapes, the synthetic data set of referring expressions, in a folder.

python tools/dataset_tools/make_refshapes.py data/refshapes [--crowded] [--no-target 0.2]
"""

import argparse
import time
from collections.abc import Sequence

from mmuniqrnet.config import positive_int
from mmuniqrnet.datasets.refshapes import DEFAULT_NUM_IMAGES, make_refshapes
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make RefShapes, the synthetic data set, in a folder.')
    parser.add_argument('folder', help='folder of the data set alone, such as data/refshapes')
    parser.add_argument('--seed', type=int, default=0, help='another seed gives other data (default: 0)')
    for split, count in DEFAULT_NUM_IMAGES.items():
        parser.add_argument(f'--{split}', type=int, default=count, metavar='N', help=f'images (default: {count})')
    parser.add_argument(
        '--crowded', action='store_true', help='the harder setting: 5 to 7 objects per image, more similar ones'
    )
    parser.add_argument(
        '--no-target',
        type=float,
        default=0.0,
        metavar='SHARE',
        help='share of the expressions that fit no object, such as 0.2 (default: 0)',
    )
    parser.add_argument(
        '--workers', type=positive_int, metavar='N', help='number of processes (default: one per core, at most 8)'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a RefShapes that was made with other settings'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    start = time.perf_counter()
    info, created = make_refshapes(
        args.folder,
        seed=args.seed,
        num_images={split: getattr(args, split) for split in DEFAULT_NUM_IMAGES},
        crowded=args.crowded,
        no_target=args.no_target,
        workers=args.workers,
        overwrite=args.overwrite,
    )
    if created:
        print(f'{args.folder}: made in {time.perf_counter() - start:.1f} s')
    else:
        print(f'{args.folder}: exists already, made with the same settings')
    rows = [
        {
            'split': split,
            **{key: summary[key] for key in ('images', 'objects', 'expressions')},
            'text-blind Acc@0.5': summary['text_blind_accuracy'],
            'kinds': ', '.join(f'{count} {kind}' for kind, count in summary['kinds'].items() if count),
        }
        for split, summary in info['splits'].items()
    ]
    print(text_table(rows))
    print(f'fingerprint {info["fingerprint"]}')


if __name__ == '__main__':
    run_tool(main)

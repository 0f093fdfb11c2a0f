"""Make mosaics of two or four annotated photographs, as a data set in COCO's format:

python tools/dataset_tools/mosaics.py instances.json FOLDER --images IMAGES --count 1000
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.analysis.mosaics import write_mosaics
from mmuniqrnet.config import positive_int
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Make mosaics of two or four annotated photographs, for `mmuniqrnet describe`: objects on all '
        'photographs of a mosaic have to be told apart.'
    )
    parser.add_argument('annotations', help="COCO's instances*.json, with or without masks")
    parser.add_argument('folder', help='folder to write: images/ and instances.json')
    parser.add_argument('--images', required=True, metavar='DIR', help='folder of the images')
    parser.add_argument(
        '--count', type=positive_int, default=1000, metavar='N', help='number of mosaics (default: 1000)'
    )
    parser.add_argument(
        '--side', type=positive_int, default=640, metavar='N', help='longer side of a mosaic in pixels (default: 640)'
    )
    parser.add_argument(
        '--seed', type=int, default=0, metavar='N', help='another seed draws other mosaics (default: 0)'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    counts = write_mosaics(args.annotations, args.images, args.folder, args.count, args.side, args.seed)
    print(f'{args.folder}: {counts["mosaics"]:,} mosaics with {counts["objects"]:,} objects')
    if counts['left_out']:
        print(
            f'{counts["left_out"]:,} photograph(s) are left out: the categories annotated on them differ from image to '
            'image (neg_category_ids, not_exhaustive_category_ids)'
        )


if __name__ == '__main__':
    run_tool(main)

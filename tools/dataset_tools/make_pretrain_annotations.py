"""Remove the val and test images of RefCOCO, RefCOCO+ and RefCOCOg from COCO's annotations, for configs/pretrain/.

    python tools/dataset_tools/leakage.py --data-root data --out data/exclude.json
    python tools/dataset_tools/make_pretrain_annotations.py data/coco/annotations/instances_train2014.json \
        data/coco/annotations/instances_train2014_without_refer.json --exclude data/exclude.json

To check the result: ``leakage.py --data-root data --train RESULT``.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.analysis.coco_subset import write_without_images
from mmuniqrnet.config import add_source_and_target
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Remove images from COCO's annotations.")
    add_source_and_target(
        parser, "COCO's annotations, such as instances_train2014.json", 'annotations to write (.json)'
    )
    parser.add_argument('--exclude', required=True, metavar='FILE.json', help='image ids, from leakage.py --out')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    kept = write_without_images(args.source, args.target, args.exclude, args.overwrite)
    print(f'{args.target}: {kept.images:,} images, {kept.annotations:,} annotations; {kept.removed:,} images removed')
    if kept.not_found:
        print(f'{kept.not_found:,} images of {args.exclude} are not in {args.source}')


if __name__ == '__main__':
    run_tool(main)

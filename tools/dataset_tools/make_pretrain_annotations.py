"""Leave the val and test images of RefCOCO, RefCOCO+ and RefCOCOg out of COCO's annotations, for configs/pretrain/.

    python tools/dataset_tools/leakage.py --data-root data --out data/exclude.json
    python tools/dataset_tools/make_pretrain_annotations.py data/coco/annotations/instances_train2014.json \
        data/coco/annotations/instances_train2014_without_refer.json --exclude data/exclude.json

To check the result: ``leakage.py --data-root data --train RESULT``.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.analysis.coco_subset import write_without_images
from mmuniqrnet.utils.errors import run_tool


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Leave images out of COCO's annotations.")
    parser.add_argument('source', metavar='SRC', help="COCO's annotations, such as instances_train2014.json")
    parser.add_argument('target', metavar='DST', help='annotations to write (.json)')
    parser.add_argument('--exclude', required=True, metavar='FILE.json', help='image ids, from leakage.py --out')
    parser.add_argument('--overwrite', action='store_true', help='write DST even if it is there already')
    args = parser.parse_args(argv)
    kept = write_without_images(args.source, args.target, args.exclude, args.overwrite)
    print(f'{args.target}: {kept.images:,} images, {kept.annotations:,} annotations; {kept.left_out:,} left out')
    if kept.not_there:
        print(f'{kept.not_there:,} images of {args.exclude} are not in {args.source}')


if __name__ == '__main__':
    run_tool(main)

"""Time of loading the items of a data set for training, relative to mmdet's own pipeline and to decoding alone.

The images are synthetic (JPEG, 640 x 480) with some expressions each and masks of polygons. Each way of loading reads
the same items in turn, in one process: "decoding" only decodes the JPEG files, which is the floor if each expression
decodes its image; "mmdet" is mmdet's LoadImageFromFile, LoadAnnotations, Resize, RandomFlip and PackDetInputs; "ours"
is the pipeline of this package with the same steps, "ours, same image" with SameImageSampler's order and LoadImageOnce.

    python benchmarks/data_loading.py [--images 40] [--size 640] [--group-size 4] [--rounds 3] [--json FILE]
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
from mmdet.utils import register_all_modules
from mmengine.dataset import DefaultSampler
from mmengine.registry import init_default_scope
from same_image_sampling import write_dataset
from timing import processor_seconds

from mmuniqrnet.config import positive_int
from mmuniqrnet.datasets import ReferJsonlDataset, SameImageSampler
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table

LOAD = dict(color_type='color_ignore_orientation')


def dataset(folder: Path, pipeline: list[dict]) -> ReferJsonlDataset:
    return ReferJsonlDataset(
        ann_file=str(folder / 'data.jsonl'), data_prefix=dict(img_path=str(folder)), pipeline=pipeline
    )


def pipelines(size: int) -> dict[str, list[dict]]:
    rest = [
        dict(type='LoadReferAnnotations'),
        dict(type='ReferResize', scale=(size, size), keep_ratio=True),
        dict(type='RandomFlipWithText', prob=0.5),
        dict(type='PackReferInputs'),
    ]
    return {
        'decoding': [dict(type='LoadImageFromFile', **LOAD)],
        'mmdet': [
            dict(type='LoadImageFromFile', **LOAD),
            dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='mmdet.Resize', scale=(size, size), keep_ratio=True),
            dict(type='mmdet.RandomFlip', prob=0.5),
            dict(type='mmdet.PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'text')),
        ],
        'ours': [dict(type='LoadImageFromFile', **LOAD), *rest],
        'ours, same image': [dict(type='LoadImageOnce', **LOAD), *rest],
    }


def read(data: ReferJsonlDataset, order: Iterable[int]) -> None:
    for index in order:
        data[index]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=positive_int, default=40, help='with 7 expressions each (default: 40)')
    parser.add_argument('--size', type=positive_int, default=640, help='side of the canvas in pixels (default: 640)')
    parser.add_argument('--group-size', type=positive_int, default=4, help='of SameImageSampler (default: 4)')
    parser.add_argument('--rounds', type=positive_int, default=3, help='measurements of each (default: 3)')
    parser.add_argument('--json', type=Path, help='write all figures to this file')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cv2.setNumThreads(1)
    register_all_modules(init_default_scope=False)
    init_default_scope('mmuniqrnet')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder, args.images)
        ways: dict[str, Callable[[], None]] = {}
        for title, pipeline in pipelines(args.size).items():
            data = dataset(folder, pipeline)
            same = title == 'ours, same image'
            order = list(SameImageSampler(data, args.group_size, seed=0) if same else DefaultSampler(data, seed=0))
            ways[title] = lambda data=data, order=order: read(data, order)
        times: dict[str, list[float]] = {title: [] for title in ways}
        for _ in range(args.rounds + 1):
            for title, way in ways.items():
                times[title].append(1000 * processor_seconds(way) / len(data))
    rows = [
        {
            '': title,
            'ms per expression': statistics.median(found[1:]),  # the first round warms up
            'of mmdet': statistics.median(a / b for a, b in zip(found[1:], times['mmdet'][1:])),
        }
        for title, found in times.items()
    ]
    print(f'{args.images} images of 640 x 480 with 7 expressions each, to {args.size} pixels:')
    print(text_table(rows))
    if args.json:
        args.json.write_text(json.dumps(dict(size=args.size, rows=rows), indent=1))


if __name__ == '__main__':
    run_tool(main)

"""Time of loading an epoch with SameImageSampler and LoadImageOnce relative to plain shuffling.

The images are synthetic (JPEG, 640 x 480) with 7 expressions each, as in RefCOCO. One process loads images, boxes and
masks, resizes them to a canvas of ``--size`` pixels and flips half of them, without a network. Also printed is how many
different images a batch of 16 has after that, if all expressions of a group draw the same random numbers (one_view).

    python benchmarks/same_image_sampling.py [--images 60] [--size 640] [--group-sizes 2 4 8]
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.registry import init_default_scope
from timing import processor_seconds
from torch.utils.data import Sampler

from mmuniqrnet.config import positive_int
from mmuniqrnet.datasets import ReferJsonlDataset, SameImageSampler
from mmuniqrnet.engine.loops.batches import SeededBatchSampler
from mmuniqrnet.structures.shared_images import find_same_images
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table

EXPRESSIONS = 7
BATCH = 16


def write_dataset(folder: Path, images: int) -> None:
    random, lines = np.random.default_rng(0), []
    for number in range(images):
        # Smooth with some noise: about as many bytes per pixel as COCO's photographs.
        coarse = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        photo = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC) + random.normal(0, 12, (480, 640, 3))
        cv2.imwrite(str(folder / f'{number}.jpg'), photo.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])
        x, y = random.integers(0, 200, 2).tolist()
        polygon = [x, y, x + 200, y, x + 250, y + 150, x + 60, y + 220]
        lines.append(
            dict(image=f'{number}.jpg', expressions=[f'thing {n}' for n in range(EXPRESSIONS)], mask=[polygon])
        )
    (folder / 'data.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))


def dataset(folder: Path, size: int, **load: Any) -> ReferJsonlDataset:
    return ReferJsonlDataset(
        ann_file=str(folder / 'data.jsonl'),
        data_prefix=dict(img_path=str(folder)),
        pipeline=[
            dict(color_type='color_ignore_orientation', **load),
            dict(type='LoadReferAnnotations'),
            dict(type='ReferResize', scale=(size, size), keep_ratio=True),
            dict(type='RandomFlipWithText', prob=0.5),
            dict(type='PackReferInputs'),
        ],
    )


def read(data: ReferJsonlDataset, order: Iterable[int]) -> None:
    for index in order:
        data[index]


def images_in_batches(data: ReferJsonlDataset, sampler: Sampler) -> float:
    """The mean number of images with different pixels in a batch."""
    counts = []
    for batch in SeededBatchSampler(sampler, BATCH, drop_last=True):
        items = [data[index] for index in batch]
        rows = find_same_images([item['inputs'] for item in items], [item['data_samples'] for item in items])
        counts.append(max(rows) + 1)
    return statistics.mean(counts)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=positive_int, default=60)
    parser.add_argument('--size', type=positive_int, default=640)
    parser.add_argument('--group-sizes', type=positive_int, nargs='+', default=[2, 4, 8])
    parser.add_argument(
        '--rounds', type=positive_int, default=3, help='measurements of each; the fastest counts (default: 3)'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cv2.setNumThreads(1)
    init_default_scope('mmuniqrnet')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder, args.images)
        size = sum(path.stat().st_size for path in folder.glob('*.jpg')) / args.images / 1024
        plain = dataset(folder, args.size, type='LoadImageFromFile')
        once = dataset(folder, args.size, type='LoadImageOnce')
        orders = {'plain shuffling': (plain, DefaultSampler(plain, seed=0))}
        for group_size in args.group_sizes:
            orders[f'groups of {group_size}'] = (once, SameImageSampler(once, group_size, seed=0, one_view=True))
        read(plain, range(0, len(plain), EXPRESSIONS))  # so that the files are in the system's cache
        best = {
            name: min(processor_seconds(read, data, list(sampler)) for _ in range(args.rounds))
            for name, (data, sampler) in orders.items()
        }
        images = {name: images_in_batches(*order) for name, order in orders.items()}
    print(f'{args.images} images of 640 x 480, {size:.0f} KiB each, {len(plain)} expressions, to {args.size} pixels')
    rows = [
        {
            'order': name,
            'ms per expression': 1000 * seconds / len(plain),
            'of plain': seconds / best['plain shuffling'],
            f'images in {BATCH}': images[name],
        }
        for name, seconds in best.items()
    ]
    print(text_table(rows))


if __name__ == '__main__':
    run_tool(main)

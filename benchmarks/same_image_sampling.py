"""Time of loading an epoch with SameImageSampler and LoadImageOnce, as a share of that of plain shuffling.

Made-up photographs (JPEG, 640 x 480) with 7 expressions each, as RefCOCO has; one process, no network, box and mask
loaded, resized to a canvas of ``--size`` pixels.

    python benchmarks/same_image_sampling.py [--images 60] [--size 640] [--group-sizes 2 4 8]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from mmengine.dataset import DefaultSampler
from mmengine.registry import init_default_scope

from mmuniqrnet.datasets import ReferJsonlDataset, SameImageSampler

EXPRESSIONS = 7


def write_dataset(folder: Path, images: int) -> None:
    random, lines = np.random.default_rng(0), []
    for number in range(images):
        # smooth, with some noise: about the bytes a pixel that COCO's photographs have
        coarse = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        photo = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC) + random.normal(0, 12, (480, 640, 3))
        cv2.imwrite(str(folder / f'{number}.jpg'), photo.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])
        x, y = random.integers(0, 200, 2).tolist()
        polygon = [x, y, x + 200, y, x + 250, y + 150, x + 60, y + 220]
        lines.append(
            dict(image=f'{number}.jpg', expressions=[f'thing {n}' for n in range(EXPRESSIONS)], mask=[polygon])
        )
    (folder / 'data.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))


def dataset(folder: Path, load: str, size: int) -> ReferJsonlDataset:
    return ReferJsonlDataset(
        ann_file=str(folder / 'data.jsonl'),
        data_prefix=dict(img_path=str(folder)),
        pipeline=[
            dict(type=load, color_type='color_ignore_orientation'),
            dict(type='LoadReferAnnotations'),
            dict(type='ReferResize', scale=(size, size), keep_ratio=True),
            dict(type='RandomFlipWithText', prob=0.5),
            dict(type='PackReferInputs'),
        ],
    )


def processor_seconds(data: ReferJsonlDataset, order: Iterable[int]) -> float:
    """Of this process's own processor time, so that whatever else runs does not count."""
    start = time.process_time()
    for index in order:
        data[index]
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=60)
    parser.add_argument('--size', type=int, default=640)
    parser.add_argument('--group-sizes', type=int, nargs='+', default=[2, 4, 8])
    parser.add_argument('--rounds', type=int, default=3, help='the best of so many counts (default: 3)')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    init_default_scope('mmuniqrnet')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder, args.images)
        size = sum(path.stat().st_size for path in folder.glob('*.jpg')) / args.images / 1024
        plain, once = (dataset(folder, load, args.size) for load in ('LoadImageFromFile', 'LoadImageOnce'))
        orders = {'plain shuffling': (plain, list(DefaultSampler(plain, seed=0)))}
        for group_size in args.group_sizes:
            orders[f'groups of {group_size}'] = (once, list(SameImageSampler(once, group_size=group_size, seed=0)))
        processor_seconds(plain, range(0, len(plain), EXPRESSIONS))  # files into the system's cache
        best = {name: min(processor_seconds(*what) for _ in range(args.rounds)) for name, what in orders.items()}
    print(f'{args.images} images of 640 x 480, {size:.0f} KiB each, {len(plain)} expressions, to {args.size} pixels')
    for name, seconds in best.items():
        ratio = seconds / best['plain shuffling']
        print(f'{name:16} {1000 * seconds / len(plain):6.2f} ms an expression, {ratio:.2f} of plain')


if __name__ == '__main__':
    main()

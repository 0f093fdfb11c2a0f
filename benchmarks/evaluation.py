"""Time and memory of ReferringMetric for each expression, relative to the way of published test scripts.

Measured in turn, in one run, on synthetic masks of polygons: "plain" decodes the truth by pycocotools and adds up the
pixels of ``logical_and`` and ``logical_or``, as the scripts of LAVT and CRIS do, without boxes; "decoding" only decodes
the truth, which every way of comparing bitmaps needs; "ours" is ReferringMetric with all its metrics.

    python benchmarks/evaluation.py [--expressions 400] [--height 480] [--width 640] [--rounds 5] [--json FILE]
"""

import argparse
import json
import statistics
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as mask_utils
from timing import processor_seconds

from mmuniqrnet.config import positive_int
from mmuniqrnet.evaluation import ReferringMetric
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table


def make_samples(count: int, height: int, width: int) -> list[dict]:
    """Data samples as dicts: an object of a polygon of 40 points, and a prediction that overlaps it."""
    random, samples = np.random.default_rng(0), []
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for number in range(count):
        centre, radius = random.uniform(0.3, 0.7, 2) * (width, height), random.uniform(0.05, 0.3) * height
        points = [
            centre
            + shift
            + (radius * random.uniform(0.7, 1, 40))[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
            for shift in (0, random.normal(0, 0.2 * radius, 2))
        ]
        truth, guess = (p.clip(0, (width - 1, height - 1)) for p in points)
        mask = mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects([guess.ravel().tolist()], height, width)))
        boxes = [[*p.min(0).tolist(), *p.max(0).tolist()] for p in (truth, guess)]
        samples.append(
            dict(
                dataset='refcoco',
                split='val',
                sent_id=number,
                img_id=number,
                text=f'thing {number}',
                ori_shape=(height, width),
                instances=[dict(bbox=boxes[0], mask=[truth.ravel().tolist()])],
                pred_instances=dict(
                    bboxes=torch.tensor([boxes[1]]),
                    scores=torch.ones(1),
                    masks=torch.from_numpy(np.ascontiguousarray(mask)).bool()[None],
                ),
            )
        )
    return samples


def decode(samples: Sequence[dict]) -> None:
    for sample in samples:
        decoded(sample)


def decoded(sample: dict) -> np.ndarray:
    polygons = sample['instances'][0]['mask']
    return mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects(polygons, *sample['ori_shape'])))


def plain(samples: Sequence[dict]) -> None:
    found = []
    for sample in samples:
        truth, guess = decoded(sample), sample['pred_instances']['masks'][0].numpy()
        found.append((np.sum(np.logical_and(truth, guess)), np.sum(np.logical_or(truth, guess))))
    ious = np.array([intersection / union for intersection, union in found])
    ious.mean(), [(ious >= threshold).mean() for threshold in (0.5, 0.6, 0.7, 0.8, 0.9)]


def ours(samples: Sequence[dict]) -> None:
    metric = ReferringMetric()
    for start in range(0, len(samples), 16):
        metric.process(None, samples[start : start + 16])
    metric.evaluate(len(samples))


def peak_mib(call: Callable[[Sequence[dict]], None], samples: Sequence[dict]) -> float:
    """MiB of arrays and objects at most that a call adds."""
    tracemalloc.start()
    call(samples)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return peak


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--expressions', type=positive_int, default=400, help='default: 400')
    parser.add_argument('--height', type=positive_int, default=480, help='of the images, in pixels (default: 480)')
    parser.add_argument('--width', type=positive_int, default=640, help='default: 640')
    parser.add_argument('--rounds', type=positive_int, default=5, help='measurements of each (default: 5)')
    parser.add_argument('--json', type=Path, help='write all figures to this file')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    samples = make_samples(args.expressions, args.height, args.width)
    ways = dict(plain=plain, decoding=decode, ours=ours)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds + 1):
        for name, way in ways.items():
            times[name].append(1000 * processor_seconds(way, samples) / len(samples))
    rows = [
        {
            '': name,
            'ms per expression': statistics.median(found[1:]),  # the first round warms up
            'of plain': statistics.median(a / b for a, b in zip(found[1:], times['plain'][1:])),
            'peak MiB': peak_mib(ways[name], samples[:50]),
        }
        for name, found in times.items()
    ]
    print(f'{args.expressions} expressions on images of {args.width} x {args.height}:')
    print(text_table(rows, decimals={'ms per expression': 3, 'peak MiB': 2}))
    if args.json:
        args.json.write_text(json.dumps(dict(arguments=vars(args) | dict(json=str(args.json)), rows=rows), indent=1))


if __name__ == '__main__':
    run_tool(main)

"""Processor time of many expressions on one image, relative to the same expressions on copies of the image.

The inferencer decodes and prepares an image once, and computes once what does not depend on the text. Without --config
and --weights the shipped model is measured, on one thread.

    python benchmarks/shared_images.py [IMAGE] [--expressions 2 4 8 16] [--config C] [--weights W]
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from timing import processor_seconds

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.config import positive_int
from mmuniqrnet.datasets.refshapes.writer import draw_scene
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table

ROUNDS = 15


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('image', nargs='?', help='image file (default: a scene of RefShapes)')
    parser.add_argument('--expressions', nargs='+', type=positive_int, default=[2, 4, 8, 16], metavar='N')
    parser.add_argument('--config', help='config file (default: the one in the weights file)')
    parser.add_argument('--weights', help='checkpoint (default: the shipped model)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    torch.set_num_threads(1)
    ask = UniQRNetInferencer(args.config, args.weights, show_progress=False)
    with tempfile.TemporaryDirectory() as folder:
        image = args.image
        if image is None:
            image = str(Path(folder) / 'scene.png')
            cv2.imwrite(image, draw_scene(1, 'val', 0)[0])
        rows = []
        for count in args.expressions:
            words = ('red', 'blue', 'green', 'left', 'right', 'top', 'white', 'black')
            texts = [f'the {words[i % len(words)]} one' for i in range(count)]
            shared, apart = [], []
            for _ in range(ROUNDS + 1):
                shared.append(processor_seconds(ask, image, texts, batch_size=count))
                apart.append(processor_seconds(ask, [image] * count, texts, batch_size=count))
            ratios = [a / b for a, b in zip(shared[1:], apart[1:])]  # the first round warms up
            rows.append(
                dict(expressions=count, median=statistics.median(ratios), minimum=min(ratios), maximum=max(ratios))
            )
    print(f'time of one image, relative to that of copies of it, in {ROUNDS} rounds:')
    print(text_table(rows))


if __name__ == '__main__':
    run_tool(main)

"""Processor time of asking one image many expressions, as a share of asking that many copies of it one expression each.

The inferencer decodes and prepares an image once, and computes once what the network does before it meets the text. The
shipped model, or any other; one thread, the two in turn.

    python benchmarks/shared_images.py [IMAGE] [--expressions 2 4 8 16] [--config C] [--weights W]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.datasets.refshapes.writer import draw_scene

ROUNDS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('image', nargs='?', help='image file (default: a scene of RefShapes)')
    parser.add_argument('--expressions', nargs='+', type=int, default=[2, 4, 8, 16], metavar='N')
    parser.add_argument('--config')
    parser.add_argument('--weights')
    args = parser.parse_args()
    torch.set_num_threads(1)
    ask = UniQRNetInferencer(args.config, args.weights, show_progress=False)
    with tempfile.TemporaryDirectory() as folder:
        image = args.image
        if image is None:
            image = str(Path(folder) / 'scene.png')
            cv2.imwrite(image, draw_scene(1, 'val', 0)[0])
        for count in args.expressions:
            texts = [f'the {word} one' for word in ('red', 'blue', 'green', 'left', 'right', 'top', 'white', 'black')]
            texts = [texts[i % len(texts)] for i in range(count)]
            shared, apart = [], []
            for _ in range(ROUNDS + 1):
                shared.append(seconds(lambda: ask(image, texts, batch_size=count)))
                apart.append(seconds(lambda: ask([image] * count, texts, batch_size=count)))
            ratios = [a / b for a, b in zip(shared[1:], apart[1:])]  # the first round warms up
            print(
                f'{count:3} expressions: {statistics.median(ratios):.2f} of the time '
                f'({min(ratios):.2f} to {max(ratios):.2f} in {ROUNDS} rounds)'
            )


def seconds(call: Callable[[], object]) -> float:
    """Of this process's own processor time, so that whatever else runs does not count."""
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == '__main__':
    main()

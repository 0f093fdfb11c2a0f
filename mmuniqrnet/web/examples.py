"""Pictures to begin with: scenes of RefShapes that no training has seen."""

from pathlib import Path
from typing import NamedTuple

import cv2

from mmuniqrnet.datasets.refshapes.writer import draw_scene

# No data set is made with this seed.
SEED, COUNT = 20240, 6


class Example(NamedTuple):
    path: Path
    phrases: list[str]


def write_examples(folder: Path, seed: int = SEED, count: int = COUNT) -> list[Example]:
    """Write ``scene_1.png``, ... into the folder, which must exist, each with a phrase for every object on it."""
    examples = []
    for number in range(1, count + 1):
        picture, _, described = draw_scene(seed, 'val', number)
        path = folder / f'scene_{number}.png'
        cv2.imwrite(str(path), picture)
        examples.append(Example(path, [expression.raw for expressions in described for expression in expressions]))
    return examples

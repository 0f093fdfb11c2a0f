"""Where tests/data/refer_mini is, and what its pictures show: counted in the pictures, not read from annotations."""

from pathlib import Path

import numpy as np
from PIL import Image

from .paths import ROOT

REFER_MINI = ROOT / 'tests' / 'data' / 'refer_mini'

BACKGROUND = (128, 128, 128)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
YELLOW, PURPLE, CYAN = (255, 255, 0), (255, 0, 255), (0, 255, 255)
COLOURS = (BACKGROUND, RED, GREEN, BLUE, YELLOW, PURPLE, CYAN)

# By number of the annotation: colour, pixels, and the edges x1, y1, x2, y2; counted on paper.
OBJECTS = {
    1: (RED, 96, [3, 4, 11, 16]),
    2: (BLUE, 85, [15, 2, 20, 22]),
    3: (GREEN, 82, [24, 3, 34, 19]),
    4: (YELLOW, 110, [0, 5, 10, 16]),
    5: (PURPLE, 72, [4, 20, 16, 30]),
    6: (RED, 252, [22, 10, 36, 28]),
    7: (CYAN, 108, [2, 2, 8, 26]),
    8: (GREEN, 240, [4, 5, 16, 25]),
    9: (YELLOW, 288, [20, 0, 29, 32]),
}


def pixels_of(picture: Path, colour: tuple[int, int, int]) -> np.ndarray:
    """A bool mask [H, W] of the pixels that are nearest to this one of ``COLOURS``; JPEG changes each a little."""
    pixels = np.asarray(Image.open(picture).convert('RGB'), dtype=int)
    distances = np.abs(pixels[:, :, None] - np.array(COLOURS)).sum(-1)
    return distances.argmin(-1) == COLOURS.index(colour)

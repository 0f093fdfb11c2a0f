"""Scenes of RefShapes: the objects and their positions (`draw_layout`), and the picture (`paint`).

All random numbers come from the given generator, and textures use no transcendental function, so that the data is the
same on every machine. It depends only on the polygon filling of OpenCV: versions 4.11, 4.12 and 5.0 agree to the pixel,
4.8 fills edges differently.
"""

import colorsys
import math
from typing import NamedTuple

import cv2
import numpy as np

MIN_SIDE, MAX_SIDE = 64, 96
MIN_ASPECT, MIN_SHORT_SIDE = 0.72, 60
# Longer side of an object's box, relative to the shorter side of the image.
MIN_SIZE, MAX_SIZE = 0.25, 0.5
MAX_BOX_OVERLAP = 0.06
TWIN_PROBABILITY = 0.3
CROWDED_TWIN_PROBABILITY = 0.6

# Hue in degrees, saturation, value. Backgrounds have low saturation and medium brightness, unlike all of these.
COLORS: dict[str, tuple[float, float, float]] = {
    'red': (356, 0.88, 0.86),
    'yellow': (54, 0.88, 0.97),
    'green': (128, 0.80, 0.62),
    'blue': (220, 0.85, 0.88),
    'purple': (286, 0.72, 0.70),
    'white': (0, 0.02, 0.97),
    'black': (0, 0.05, 0.09),
}


class PlacedObject(NamedTuple):
    """One object of a scene: ``mask`` (H, W) bool, its visible pixels, and their tight box ``bbox``."""

    shape: str
    color: str
    mask: np.ndarray
    bbox: tuple[int, int, int, int]  # xywh, pixels


class Layout(NamedTuple):
    height: int
    width: int
    objects: list[PlacedObject]


def _circle(radius: float, points: int = 40) -> list[tuple[float, float]]:
    return [
        (radius * math.cos(2 * math.pi * k / points), radius * math.sin(2 * math.pi * k / points))
        for k in range(points)
    ]


def _star(inner: float) -> list[tuple[float, float]]:
    return [
        (
            (1 if k % 2 == 0 else inner) * math.sin(math.pi * k / 5),
            -(1 if k % 2 == 0 else inner) * math.cos(math.pi * k / 5),
        )
        for k in range(10)
    ]


def _heart(points: int = 40) -> list[tuple[float, float]]:
    ts = [2 * math.pi * k / points for k in range(points)]
    return [
        (16 * math.sin(t) ** 3, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)))
        for t in ts
    ]


def _cross(arm: float) -> list[tuple[float, float]]:
    quarter = [(arm, -1), (arm, -arm), (1, -arm)]
    corners = []
    for _ in range(4):
        corners += quarter
        quarter = [(-y, x) for x, y in quarter]
    return corners


# Outlines with y pointing down; a second contour is a hole.
_CONTOURS: dict[str, list[list[tuple[float, float]]]] = {
    'circle': [_circle(1)],
    'square': [[(-1, -1), (1, -1), (1, 1), (-1, 1)]],
    'triangle': [[(0, -1), (1, 0.8), (-1, 0.8)]],
    'star': [_star(0.42)],
    'ring': [_circle(1), _circle(0.54)],
    'cross': [_cross(0.34)],
    'diamond': [[(0, -1), (0.66, 0), (0, 1), (-0.66, 0)]],
    'heart': [_heart()],
}
OUTLINES = {name: [np.array(contour, dtype=np.float64) for contour in contours] for name, contours in _CONTOURS.items()}
SHAPES = tuple(OUTLINES)


def outline(shape: str, size: float, degrees: float) -> tuple[list[np.ndarray], int, int]:
    """The contours of ``shape``, rotated by ``degrees`` with a longer side of ``size`` pixels, and their size.

    The contours start at (0, 0); the size is (width, height) of the pixels that they cover.
    """
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    contours = [contour @ turn for contour in OUTLINES[shape]]
    low, high = contours[0].min(0), contours[0].max(0)
    scale = (size - 1) / (high - low).max()
    width, height = ((high - low) * scale).tolist()
    return [(contour - low) * scale for contour in contours], math.ceil(width) + 1, math.ceil(height) + 1


def _draw_kinds(rng: np.random.Generator, count: int, twin_probability: float) -> list[tuple[str, str]]:
    """Draw (shape, color) pairs from a small table, so that some have the same shape and some the same colour."""
    table = {3: (2, 2), 4: ((2, 3), (3, 2))[rng.integers(2)]}.get(count, (3, 3))
    shapes = [SHAPES[k] for k in rng.permutation(len(SHAPES))[: table[0]]]
    colors = [tuple(COLORS)[k] for k in rng.permutation(len(COLORS))[: table[1]]]
    cells = [(shape, color) for shape in shapes for color in colors]
    kinds = [cells[k] for k in rng.permutation(len(cells))[:count]]
    if twin_probability and rng.random() < twin_probability:
        kinds[0] = kinds[1]
    return kinds


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection of two xywh boxes relative to the area of the smaller one."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return w * h / min(a[2] * a[3], b[2] * b[3]) if w > 0 and h > 0 else 0


def _tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(cols[0]), int(rows[0]), int(cols[-1] - cols[0] + 1), int(rows[-1] - rows[0] + 1)


def draw_layout(rng: np.random.Generator, twins: bool, crowded: bool = False) -> Layout:
    """Draw the size of the image and 3 to 5 objects that overlap very little.

    Args:
        rng: source of all random numbers.
        twins: whether two objects may have the same shape and colour, so that no attribute distinguishes them.
        crowded: 5 to 7 objects, and twice as many twins.
    """
    long_side = int(rng.integers(MIN_SIDE, MAX_SIDE + 1))
    short_side = max(round(long_side * (MIN_ASPECT + (1 - MIN_ASPECT) * rng.random())), MIN_SHORT_SIDE)
    height, width = ((short_side, long_side), (long_side, short_side), (long_side, long_side))[rng.integers(3)]
    count = int(rng.integers(5, 8) if crowded else rng.integers(3, 6))
    kinds = _draw_kinds(rng, count, twins and (CROWDED_TWIN_PROBABILITY if crowded else TWIN_PROBABILITY))
    placed = None
    while placed is None:
        placed = _place(rng, height, width, kinds)
    return Layout(height, width, placed)


def _place(
    rng: np.random.Generator, height: int, width: int, kinds: list[tuple[str, str]]
) -> list[PlacedObject] | None:
    # There is rarely room for five large objects.
    largest = {3: MAX_SIZE, 4: MAX_SIZE, 5: 0.4}.get(len(kinds), 0.36)
    boxes: list[np.ndarray] = []
    outlines = []
    for shape, _ in kinds:
        size = min(height, width) * (MIN_SIZE + (largest - MIN_SIZE) * rng.random())
        contours, w, h = outline(shape, size, 20 * rng.random() - 10)
        for x, y in rng.random((30, 2)).tolist():
            box = (int(x * (width - w + 1)), int(y * (height - h + 1)), w, h)
            if all(_overlap(box, other) <= MAX_BOX_OVERLAP for other in boxes):
                break
        else:
            return None
        boxes.append(box)
        outlines.append([contour + box[:2] for contour in contours])
    # Objects later in the list are in front of earlier ones.
    numbered = np.zeros((height, width), np.uint8)
    for number, contours in enumerate(outlines, 1):
        cv2.fillPoly(numbered, [np.round(contour * 16).astype(np.int32) for contour in contours], number, shift=4)
    masks = [numbered == number for number in range(1, len(kinds) + 1)]
    return [PlacedObject(shape, color, mask, _tight_box(mask)) for (shape, color), mask in zip(kinds, masks)]


def _object_color(rng: np.random.Generator, name: str) -> np.ndarray:
    """BGR of a named colour, slightly different for each object."""
    hue, saturation, value = COLORS[name]
    hue = (hue + 12 * rng.random() - 6) % 360 / 360
    saturation = min(1, saturation * (1 + 0.16 * (rng.random() - 0.5)))
    value = min(1, value * (1 + 0.12 * (rng.random() - 0.5)))
    return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value)[::-1])


def _dull_color(rng: np.random.Generator) -> np.ndarray:
    return 95 + 65 * rng.random() + 36 * (rng.random(3) - 0.5)


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    ys, xs = np.arange(height, dtype=np.float64)[:, None], np.arange(width, dtype=np.float64)
    slope_x, slope_y = 2 * rng.random(2) - 1
    ramp = (slope_x * xs + slope_y * ys) / (abs(slope_x) + abs(slope_y) + 1e-6)
    period = 6 + 18 * rng.random()
    texture = rng.integers(4)
    if texture == 0:
        weight = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-6)
    elif texture == 1:
        weight = np.abs(ramp / period % 2 - 1)
    elif texture == 2:
        weight = (xs // period + ys // period) % 2
    else:
        weight = cv2.resize(rng.random((4, 4)), (width, height), interpolation=cv2.INTER_LINEAR)
    first, second = _dull_color(rng), _dull_color(rng)
    return first + weight[..., None] * (second - first)


def _clutter(rng: np.random.Generator, image: np.ndarray) -> None:
    """Draw specks and short strokes, all much smaller than an object, into ``image``."""
    height, width = image.shape[:2]
    for x, y, dx, dy, dot in rng.random((int(rng.integers(12, 40)), 5)):
        color = (image[int(y * height), int(x * width)] + 130 * (rng.random(3) - 0.5)).tolist()
        start = (int(x * width), int(y * height))
        if dot < 0.6:
            cv2.circle(image, start, int(dot > 0.3), color, -1)
        else:
            cv2.line(image, start, (start[0] + int(14 * dx - 7), start[1] + int(14 * dy - 7)), color, 1)


def paint(rng: np.random.Generator, layout: Layout) -> np.ndarray:
    """The picture of ``layout``, (H, W, 3) uint8 in BGR order."""
    image = _background(rng, layout.height, layout.width)
    _clutter(rng, image)
    ramp = np.arange(layout.height)[:, None] / layout.height - 0.5
    for placed in layout.objects:
        shade = np.broadcast_to(1 + 0.3 * (rng.random() - 0.5) * ramp, placed.mask.shape)[placed.mask]
        image[placed.mask] = shade[:, None] * _object_color(rng, placed.color)
    image += rng.integers(-9, 10, (*image.shape[:2], 1), dtype=np.int8)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)

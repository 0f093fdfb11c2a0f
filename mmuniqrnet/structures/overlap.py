"""Overlap of boxes and masks: pure functions on arrays, in whatever pixels their arguments are in."""

from typing import Literal

import cv2
import numpy as np
from PIL import Image


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of boxes in pairs.

    Boxes are continuous xyxy (no "+1"); ``a`` and ``b`` are [..., 4] and broadcast, the result is [...]. A box with
    x2 <= x1 or y2 <= y1 has no area; where the union has none, the IoU is 0.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    side = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    intersection = side.prod(-1)
    union = _box_area(a) + _box_area(b) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def _box_area(box: np.ndarray) -> np.ndarray:
    return np.clip(box[..., 2:] - box[..., :2], 0, None).prod(-1)


def mask_overlap(pred: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """Pixels in the intersection and in the union of two bool masks [H, W].

    Raises:
        ValueError: The masks differ in size (numpy would broadcast some of them without a word).
    """
    if pred.shape != truth.shape:
        raise ValueError(f'masks to compare must have one size, but one is {pred.shape} and one {truth.shape}')
    return int(np.count_nonzero(pred & truth)), int(np.count_nonzero(pred | truth))


def ratio(intersection: int, union: int, empty: float = 1.0) -> float:
    """IoU from pixel counts; ``empty`` is what it is where nothing was there and nothing was found (0/0)."""
    return intersection / union if union else empty


def resize_nearest(mask: np.ndarray, height: int, width: int, like: Literal['pillow', 'opencv']) -> np.ndarray:
    """A bool mask [H, W] on a grid [height, width] by nearest neighbour.

    Published test scripts take different neighbours: Pillow the source pixel under the centre of the target pixel,
    OpenCV the one under its top left corner. Both are asked themselves, for ties fall by their rounding errors.
    """
    source = mask.astype(np.uint8)
    if like == 'pillow':
        return np.asarray(Image.fromarray(source).resize((width, height), Image.Resampling.NEAREST)) > 0
    return cv2.resize(source, (width, height), interpolation=cv2.INTER_NEAREST) > 0

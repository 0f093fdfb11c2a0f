"""Overlap of boxes and masks: pure functions on arrays, in any pixel coordinates that both arguments share."""

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
        ValueError: If the masks differ in size (numpy would silently broadcast some of them).
    """
    if pred.shape != truth.shape:
        raise ValueError(f'masks to compare must have the same size, but one is {pred.shape} and one {truth.shape}')
    return int(np.count_nonzero(pred & truth)), int(np.count_nonzero(pred | truth))


def ratio(intersection: float, union: float, empty: float = 1.0) -> float:
    """IoU from pixel counts; ``empty`` is its value if both masks are empty (0/0)."""
    return intersection / union if union else empty


def resize_nearest(mask: np.ndarray, height: int, width: int, like: Literal['pillow', 'opencv']) -> np.ndarray:
    """Resize a bool mask [H, W] to [height, width] by nearest neighbour.

    Published test scripts use different neighbours: Pillow takes the source pixel under the centre of the target pixel,
    OpenCV the one under its top left corner. The two libraries themselves are called, because their rounding errors
    decide ties.
    """
    source = mask.astype(np.uint8)
    if like == 'pillow':
        return np.asarray(Image.fromarray(source).resize((width, height), Image.Resampling.NEAREST)) > 0
    return cv2.resize(source, (width, height), interpolation=cv2.INTER_NEAREST) > 0

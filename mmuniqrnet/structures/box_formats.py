"""Boxes and polygons as other systems print them, as xyxy in pixels."""

from collections.abc import Sequence

import numpy as np

from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.formats import Layout, Units

_WHOLE: dict[Units, float] = {'fraction': 1, 'thousandths': 1000}


def to_xyxy_pixels(
    box: Sequence[float], width: int, height: int, layout: Layout = 'xyxy', units: Units = 'pixels'
) -> list[float]:
    """One box as (x1, y1, x2, y2) in pixels with continuous edges.

    Args:
        box: Four numbers.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        layout: Order of the numbers: two corners (``xyxy``), a corner and the size (``xywh``, as COCO), the centre and
            the size (``cxcywh``), or two corners with the vertical coordinate first (``yxyx``).
        units: Pixels, or parts of the image's width and height: 0..1 (``fraction``) or 0..1000 (``thousandths``).

    Raises:
        UserError: These are not four finite numbers, or the box has a negative width or height.
    """
    if isinstance(box, str) or not isinstance(box, Sequence) or len(box) != 4:
        raise UserError(f'a box must be four numbers, not {str(box)[:80]}')
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in box):
        raise UserError(f'a box must be four numbers, not {str(box)[:80]}')
    if not np.isfinite(box).all():
        raise UserError(f'the box {list(box)} has a number that is not finite')
    a, b, c, d = map(float, box)
    if layout == 'xywh':
        found = [a, b, a + c, b + d]
    elif layout == 'cxcywh':
        found = [a - c / 2, b - d / 2, a + c / 2, b + d / 2]
    else:
        found = [b, a, d, c] if layout == 'yxyx' else [a, b, c, d]
    if found[2] < found[0] or found[3] < found[1]:
        raise UserError(
            f'the box {list(box)}, read as {layout}, has a negative width or height: is it in another layout?'
        )
    return [value * scale for value, scale in zip(found, _scales(width, height, units) * 2)]


def polygons_to_pixels(
    polygons: Sequence[Sequence[float]], width: int, height: int, units: Units = 'pixels'
) -> list[list[float]]:
    """Polygons ``[[x1, y1, x2, y2, ...], ...]`` in these units as polygons in pixels."""
    scales = np.array(_scales(width, height, units))
    return [(np.reshape(part, (-1, 2)) * scales).ravel().tolist() for part in polygons]


def _scales(width: int, height: int, units: Units) -> list[float]:
    return [1.0, 1.0] if units == 'pixels' else [width / _WHOLE[units], height / _WHOLE[units]]

"""Masks of objects: COCO polygons and run-length encodings (RLE); decoding, encoding, boxes around them.

A mask is a list of polygons ``[[x1, y1, x2, y2, ...], ...]`` or an RLE ``dict(size=[height, width], counts=...)`` whose
counts are a list of run lengths or COCO's compressed string (bytes or str), in pixels of the stored image. Every RLE
that is passed to pycocotools is first checked by ``run_lengths``, and every polygon by ``is_polygon``.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from pycocotools import mask as mask_utils

from mmuniqrnet.utils.errors import UserError

from .rle import rle_size, run_lengths

# Pixels. pycocotools walks along the edges of a polygon, so that its memory grows with their length.
FARTHEST_POINT = 1e6

Polygons = list[list[float]]
Mask = Polygons | dict


def as_mask(segmentation: list | Mapping | None) -> Mask | None:
    """The ``segmentation`` of a COCO annotation as one mask; None if it is empty.

    REFER's ReferItGame files have a list of RLEs, possibly several for one object; these are merged into one.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, list) and isinstance(segmentation[0], dict):
        if len(segmentation) == 1:
            return segmentation[0]
        sizes = {rle_size(rle) for rle in segmentation}
        if len(sizes) > 1:
            raise UserError(f'the RLE masks of one object have several sizes (height, width): {sorted(sizes)}')
        return mask_utils.merge([to_rle(rle, *rle_size(rle)) for rle in segmentation])
    return segmentation if isinstance(segmentation, list) else dict(segmentation)


def is_polygon(part: object) -> bool:
    """Whether this is ``[x1, y1, x2, y2, ...]`` with at least three points, all of them finite numbers.

    This must be checked because pycocotools accepts four numbers and reads them as a box (x, y, width, height).
    """
    if not isinstance(part, list | tuple | np.ndarray) or len(part) < 6 or len(part) % 2:
        return False
    if not all(issubclass(kind, int | float | np.number) and kind is not bool for kind in set(map(type, part))):
        return False
    # NaN compares as False
    return bool((np.abs(np.array(part, dtype=np.float64)) <= FARTHEST_POINT).all())


def to_rle(mask: Mask | Mapping, height: int, width: int) -> dict:
    """Polygons, or an RLE of either kind, as one compressed RLE of pycocotools.

    Raises:
        UserError: It is neither, or an RLE whose runs do not fill its size.
    """
    if isinstance(mask, Mapping) and 'counts' in mask:
        size = rle_size(mask)
        if isinstance(mask['counts'], str | bytes):
            _check_string(mask['counts'], *size)
            return dict(size=list(size), counts=mask['counts'])
        run_lengths(mask)
        return mask_utils.frPyObjects(dict(size=size, counts=list(map(int, mask['counts']))), *size)
    if isinstance(mask, list) and mask and all(map(is_polygon, mask)):
        return mask_utils.merge(mask_utils.frPyObjects([list(map(float, part)) for part in mask], height, width))
    raise UserError(
        'a mask must be a list of polygons, each [x1, y1, x2, y2, ...] with at least three points, or an '
        f"RLE dict with 'size' and 'counts', not {str(mask)[:80]}"
    )


@lru_cache(maxsize=2**15)
def _check_string(counts: str | bytes, height: int, width: int) -> None:
    """Check an RLE as :func:`run_lengths` does, each only once, because training decodes the same masks many times."""
    run_lengths(dict(size=[height, width], counts=counts))


def with_text_counts(rle: dict) -> dict:
    """The same RLE with its compressed counts as str, which JSON and mmdet need; pycocotools gives bytes."""
    return dict(rle, counts=rle['counts'].decode('ascii')) if isinstance(rle['counts'], bytes) else rle


def decode_mask(mask: Mask | Mapping, height: int, width: int) -> np.ndarray:
    """Polygons or RLE as a bool mask [height, width].

    Raises:
        UserError: If it is neither, an RLE of another size, or an RLE whose runs do not fill its size.
    """
    return mask_utils.decode(to_rle_of(mask, height, width)).view(bool)


def to_rle_of(mask: Mask | Mapping, height: int, width: int) -> dict:
    """:func:`to_rle` of a mask on an image of this size.

    Raises:
        UserError: If it is neither polygons nor an RLE, or an RLE of another size, or its runs do not fill its size.
    """
    if isinstance(mask, Mapping) and 'counts' in mask:
        size = list(rle_size(mask))
        if size != [height, width]:
            raise UserError(f'an RLE mask has size {size}, but its image is {[height, width]} (height, width)')
    return to_rle(mask, height, width)


def union_of_rles(rles: Sequence[dict], height: int, width: int) -> dict:
    """The union of RLEs of one size as one RLE; an empty one if there are none."""
    if not rles:
        return mask_utils.frPyObjects(dict(size=[height, width], counts=[height * width]), height, width)
    return rles[0] if len(rles) == 1 else mask_utils.merge(list(rles))


def overlap_with_rle(mask: np.ndarray, rle: Mapping) -> tuple[int, int]:
    """Pixels in the intersection and in the union of a bool mask [H, W] and an RLE.

    Of the RLE, only the columns that have object pixels are decoded.

    Raises:
        ValueError: If they differ in size.
    """
    height, width = rle_size(rle)
    if mask.shape != (height, width):
        raise ValueError(f'masks to compare must have the same size, but one is {mask.shape} and one {height, width}')
    runs = run_lengths(rle)
    area, pixels = int(runs[1::2].sum()), int(np.count_nonzero(mask))
    if not area:
        return 0, pixels
    edges = np.cumsum(runs)
    objects = len(runs) // 2
    left, right = int(edges[0]) // height, (int(edges[2 * objects - 1]) - 1) // height + 1
    runs[0] -= left * height
    if len(runs) % 2:
        runs[-1] -= (width - right) * height
    truth = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(right - left, height)  # column by column
    intersection = int(np.count_nonzero(truth & mask[:, left:right].T))
    return intersection, area + pixels - intersection


def encode_mask(mask: np.ndarray) -> dict:
    """A bool mask [H, W] as a compressed RLE that JSON can hold."""
    rle = mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))
    return with_text_counts(dict(rle, size=[int(side) for side in rle['size']]))


def covers_pixel(polygons: Polygons, height: int, width: int) -> bool:
    """Whether any of these polygons, each checked by :func:`is_polygon`, covers a pixel of an image of this size.

    Area and extent do not tell: a long, narrow polygon may lie between the pixels.
    """
    return any(
        _is_large(part, height, width)
        or mask_utils.area(mask_utils.frPyObjects([list(map(float, part))], height, width))[0]
        for part in polygons
    )


def _is_large(polygon: Sequence[float], height: int, width: int) -> bool:
    """Whether a polygon, within the image, is large and wide enough to cover pixels; to draw it would take long."""
    points = np.reshape(np.asarray(polygon, float), (-1, 2))
    low, high = points.min(0), points.max(0)
    if (high - low).max() < 256 or low.min() < 0 or high[0] > width or high[1] > height:
        return False
    sides = np.roll(points, -1, axis=0) - points
    area = abs(np.dot(points[:, 0], sides[:, 1]) - np.dot(points[:, 1], sides[:, 0])) / 2
    return bool(area > 2 * np.hypot(*sides.T).sum())  # it contains a circle of radius 2


def mask_area(rle: Mapping) -> int:
    """The number of pixels that an RLE covers."""
    return int(run_lengths(rle)[1::2].sum())


def area_share(rle: Mapping) -> float:
    """The share of the image, 0..1, that an RLE covers."""
    height, width = rle_size(rle)
    return mask_area(rle) / (height * width)


def xywh_to_xyxy(bbox: Sequence[float]) -> list[float]:
    """COCO's box (x, y, width, height) as (x1, y1, x2, y2): float pixels, continuous edges, so there is no "+1"."""
    x, y, width, height = map(float, bbox)
    return [x, y, x + width, y + height]


def mask_to_box(mask: Mask) -> list[float]:
    """The box (x1, y1, x2, y2; float pixels, continuous edges) around a mask.

    For polygons it is the extent of their points, as in COCO's own boxes; for an RLE the extent of its pixels.
    """
    if isinstance(mask, list):
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in mask])
        return [*points.min(0).tolist(), *points.max(0).tolist()]
    return xywh_to_xyxy(mask_utils.toBbox(to_rle(mask, *rle_size(mask))))


def tight_box(mask: np.ndarray) -> list[float] | None:
    """The smallest box (x1, y1, x2, y2) around the pixels of a bool mask [H, W]; None if there are none.

    A pixel covers [x, x + 1] x [y, y + 1], so a single pixel has a box of area 1.
    """
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not columns.size:
        return None
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]

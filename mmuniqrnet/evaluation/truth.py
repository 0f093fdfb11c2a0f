"""The truth of an expression, from the ``instances`` of its item: one box, one mask, in original pixels."""

from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools import mask as coco_mask


def truth_box(instances: Sequence[Mapping]) -> list[float] | None:
    """The box (xyxy) of the one object an expression names.

    None where there is no object, where there are several (a single box cannot answer those, and the box around all of
    them is nobody's annotation), or where the data has no box.
    """
    if len(instances) != 1 or instances[0].get('bbox') is None:
        return None
    return [float(value) for value in instances[0]['bbox']]


def truth_mask(instances: Sequence[Mapping], height: int, width: int) -> np.ndarray | None:
    """The union of the masks of all instances, bool [height, width]; all False where there is no instance.

    None where any instance has no mask: half a truth is none.

    Raises:
        ValueError: A mask is neither polygons nor RLE, or not of this size.
    """
    if any(instance.get('mask') is None for instance in instances):
        return None
    union = np.zeros((height, width), dtype=bool)
    for instance in instances:
        union |= decode_segmentation(instance['mask'], height, width)
    return union


def decode_segmentation(segmentation: list | Mapping, height: int, width: int) -> np.ndarray:
    """COCO polygons, RLE or uncompressed RLE as a bool mask [height, width].

    Raises:
        ValueError: It is none of these, or not of this size.
    """
    if isinstance(segmentation, Mapping) and 'counts' in segmentation:
        size = list(segmentation.get('size', ()))
        if size != [height, width]:
            raise ValueError(f'an RLE mask has size {size}, but its image is {[height, width]} (height, width)')
        if isinstance(segmentation['counts'], list):
            segmentation = coco_mask.frPyObjects(dict(segmentation), height, width)
        return coco_mask.decode(dict(segmentation)).astype(bool)
    if isinstance(segmentation, list) and segmentation and all(_is_polygon(part) for part in segmentation):
        parts = coco_mask.frPyObjects([list(part) for part in segmentation], height, width)
        return coco_mask.decode(coco_mask.merge(parts)).astype(bool)
    raise ValueError(
        'a mask must be a list of polygons, each [x1, y1, x2, y2, ...] with at least three points, or an '
        f"RLE dict with 'size' and 'counts', not {str(segmentation)[:80]}"
    )


def _is_polygon(part: object) -> bool:
    # pycocotools would read four numbers as a box xywh
    return isinstance(part, list | tuple | np.ndarray) and len(part) >= 6 and len(part) % 2 == 0


def encode_mask(mask: np.ndarray) -> dict:
    """A bool mask [H, W] as a COCO RLE that JSON can hold."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=[int(side) for side in rle['size']], counts=rle['counts'].decode('ascii'))

"""The ground truth of an expression, from the ``instances`` of its item: one box, one mask, in original pixels."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmuniqrnet.utils.errors import UserError

from .masks import decode_mask, to_rle_of, union_of_rles


def truth_box(instances: Sequence[Mapping]) -> list[float] | None:
    """The box (xyxy) of the one object that an expression refers to.

    None if there is no object, if there are several (a single box cannot answer them, and the box around all of them
    was not annotated), or if the data has no box.
    """
    if len(instances) != 1 or instances[0].get('bbox') is None:
        return None
    return [float(value) for value in instances[0]['bbox']]


def truth_mask(instances: Sequence[Mapping], height: int, width: int) -> np.ndarray | None:
    """:func:`truth_rle` as a bool mask [height, width]."""
    rle = truth_rle(instances, height, width)
    return None if rle is None else np.ascontiguousarray(decode_mask(rle, height, width))


def truth_rle(instances: Sequence[Mapping], height: int, width: int) -> dict | None:
    """The union of the masks of all instances as an RLE; an empty one if there is no instance.

    None if any instance has no mask, because the union would be incomplete.

    Raises:
        UserError: If a mask is neither polygons nor RLE, is not of this size, or if the annotation has a mask of which
            nothing can be used (``lost_mask``), because the metrics would otherwise silently leave out this expression.
    """
    for instance in instances:
        if instance.get('lost_mask'):
            raise UserError(f'{instance["lost_mask"]}: fix it, or remove it to evaluate the other expressions only')
    if any(instance.get('mask') is None for instance in instances):
        return None
    return union_of_rles([to_rle_of(instance['mask'], height, width) for instance in instances], height, width)

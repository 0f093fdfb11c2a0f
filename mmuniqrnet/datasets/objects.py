"""Reading boxes and masks of annotation files: one reader for all data sets, so that all of them behave equally."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from mmuniqrnet.structures.masks import Mask, as_mask, covers_pixel, is_polygon, mask_area
from mmuniqrnet.structures.rle import rle_size, run_lengths
from mmuniqrnet.utils.errors import UserError

# Pixels. A box that is outside its image by more than ROUNDING is clipped; one by OUTSIDE or more is an error.
ROUNDING = 0.01
OUTSIDE = 1.0


@dataclass
class Repairs:
    """Counts of the changes made while reading, to be logged once.

    Attributes:
        clipped: Number of boxes that reached less than a pixel outside their image.
        short_parts: Number of parts of masks that were dropped, because they have fewer than three points.
        lost_masks: Ids of objects whose mask had only such parts, or no pixel.
    """

    clipped: int = 0
    short_parts: int = 0
    lost_masks: list = field(default_factory=list)

    def sentences(self) -> list[str]:
        """A sentence for each kind of change that was made."""
        said = []
        if self.clipped:
            said.append(f'{self.clipped:,} box(es) reach less than a pixel outside their image and are clipped')
        if self.short_parts:
            said.append(f'{self.short_parts:,} part(s) of masks have fewer than three points and are dropped')
        if self.lost_masks:
            said.append(
                f'the mask of {len(self.lost_masks):,} object(s) has no usable part, such as that of ann_id '
                f'{self.lost_masks[0]}: it counts as missing in training, and an evaluation of masks stops at it'
            )
        return said


def is_numbers(value: Any) -> TypeGuard[list[float]]:
    """Whether this is a list of finite numbers."""
    try:
        return isinstance(value, list | tuple) and all(
            isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
            for number in value
        )
    except OverflowError:  # a whole number beyond the range of float
        return False


def clip_box(
    box: Iterable[float], width: float | None, height: float | None, repairs: Repairs | None = None, what: str = 'box'
) -> list[float]:
    """A box (xyxy, edges) inside its image; one that reaches less than a pixel outside is clipped and counted.

    Raises:
        UserError: It has no area, or reaches a pixel or more outside; the message begins with ``what``.
    """
    x1, y1, x2, y2 = given = [float(side) for side in box]
    shown = '[' + ', '.join(f'{side:.6g}' if side % 1 else f'{side:.1f}' for side in given) + ']'
    if x2 <= x1 or y2 <= y1:
        raise UserError(f'{what} {shown} has no area')
    right, bottom = width or math.inf, height or math.inf
    excess = max(-x1, -y1, x2 - right, y2 - bottom)
    if excess <= ROUNDING:
        return given
    clipped = [max(x1, 0.0), max(y1, 0.0), min(x2, right), min(y2, bottom)]
    if excess >= OUTSIDE or clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        size = f' of {width}x{height} pixels' if width and height else ''
        raise UserError(f'{what} {shown} reaches outside the image{size}')
    if repairs is not None:
        repairs.clipped += 1
    return clipped


def read_object(annotation: Mapping, image: Mapping, repairs: Repairs) -> dict[str, Any]:
    """The instance of a COCO annotation: ``bbox`` (xyxy) and ``mask``, where it has them.

    If the annotation has a mask without any usable part, the instance has ``lost_mask``, a sentence, instead of
    ``mask``, and ``truth_mask`` raises an error.

    Args:
        annotation: With ``id``; ``bbox`` (x, y, width, height) and ``segmentation`` as COCO defines them. If the
            key is missing, or its value is null or empty, the object has none.
        image: ``width`` and ``height`` where known.
        repairs: Counts what is changed.

    Raises:
        UserError: Box or mask cannot be read, or both are missing. The caller adds the name of the object.
    """
    instance: dict[str, Any] = dict(bbox_label=0, ignore_flag=0)
    width, height = image.get('width'), image.get('height')
    if annotation.get('bbox') not in (None, []):
        instance['bbox'] = _read_box(annotation['bbox'], width, height, repairs)
    if annotation.get('segmentation'):
        mask = _read_mask(annotation['segmentation'], width, height, repairs)
        if mask is None:
            instance['lost_mask'] = (
                f'the mask of ann_id {annotation.get("id")} has no part of three points or more that covers a pixel'
            )
            repairs.lost_masks.append(annotation.get('id'))
        else:
            instance['mask'] = mask
    elif annotation.get('segmentation') not in (None, [], {}, ''):
        raise UserError(_no_mask(annotation['segmentation']))
    if 'bbox' not in instance and 'mask' not in instance:
        size = f' of {width}x{height} pixels' if width and height else ''
        why = f': its mask covers no pixel of the image{size}' if 'lost_mask' in instance else ''
        raise UserError(f'it has neither a box nor a usable mask{why}')
    return instance


def _read_box(bbox: Any, width: int | None, height: int | None, repairs: Repairs) -> list[float]:
    if not is_numbers(bbox) or len(bbox) != 4:
        raise UserError(f'"bbox" should be four numbers [x, y, width, height], not {str(bbox)[:60]}')
    x, y, box_width, box_height = map(float, bbox)
    return clip_box([x, y, x + box_width, y + box_height], width, height, repairs, 'the box')


def _read_mask(segmentation: Any, width: int | None, height: int | None, repairs: Repairs) -> Mask | None:
    """The mask, without parts of fewer than three points; None if nothing is left, or no pixel."""
    if isinstance(segmentation, Mapping) or (
        isinstance(segmentation, list) and all(isinstance(part, Mapping) for part in segmentation)
    ):
        for rle in [segmentation] if isinstance(segmentation, Mapping) else segmentation:
            run_lengths(rle)
            if width and height and rle_size(rle) != (height, width):
                raise UserError(
                    f'its mask has size {list(rle_size(rle))} (height, width), but the image has {width}x{height}'
                )
        mask = as_mask(segmentation)
        return mask if isinstance(mask, Mapping) and mask_area(mask) else None
    if not isinstance(segmentation, list) or not all(isinstance(part, list | tuple) for part in segmentation):
        raise UserError(_no_mask(segmentation))
    if not all(is_numbers(part) for part in segmentation):
        raise UserError(_no_mask(segmentation))
    kept = [part for part in segmentation if len(part) >= 6]
    if not all(map(is_polygon, kept)):
        raise UserError(
            'a polygon of its "segmentation" has an odd number of coordinates, or points far outside any image'
        )
    repairs.short_parts += len(segmentation) - len(kept)
    if width and height and not covers_pixel(kept, int(height), int(width)):
        return None
    return kept or None


def _no_mask(segmentation: Any) -> str:
    if is_numbers(segmentation):
        return '"segmentation" is one flat list of numbers: put it into a list of polygons, [[x1, y1, x2, y2, ...]]'
    return (
        '"segmentation" should be a list of polygons [[x1, y1, x2, y2, ...], ...] or an RLE with "size" and "counts", '
        f'not {str(segmentation)[:60]}'
    )

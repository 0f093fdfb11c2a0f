"""The record that all formats are read to and written from: an object of an image and its expressions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mmuniqrnet.datasets.objects import is_numbers
from mmuniqrnet.structures.masks import Mask, Polygons, mask_to_box, to_rle, union_of_rles, with_text_counts
from mmuniqrnet.utils.errors import UserError

# The one class of objects; the class of all data sets, too.
LABEL = 'referent'
# Name of the attribute or field with the expressions, and of what holds expressions that match nothing.
EXPRESSION, NO_TARGET = 'expression', 'no_target'
# More than any photograph has. Masks are allocated with the size that a file gives.
MAX_PIXELS = 2**29
# Pixels. A box that differs less from that around the mask is not written in addition to the mask.
SAME_BOX = 1e-6


@dataclass
class LabelledObject:
    """An object of an image and its expressions; without box and mask: expressions that match nothing in the image.

    Attributes:
        where: File and entry that it is from, for messages.
        image: Path of the image, as in the file.
        expressions: The expressions; an object that has none yet is refused or left out by ``convert``.
        box: [x1, y1, x2, y2], edges in pixels of the stored image.
        mask: Polygons or RLE in pixels of the stored image.
        width: Width of the image in pixels, if it is known.
        height: Height of the image in pixels, if it is known.
        split: The split, if the file has several.
        score: The score of a prediction; None for annotations.
        upright: Whether box and mask refer to the image as it is shown, turned by its EXIF orientation.
    """

    where: str
    image: str
    expressions: list[str] = field(default_factory=list)
    box: list[float] | None = None
    mask: Mask | None = None
    width: int | None = None
    height: int | None = None
    split: str | None = None
    score: float | None = None
    upright: bool = False

    @property
    def no_target(self) -> bool:
        return self.box is None and self.mask is None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image; UserError if they are not known."""
        if not self.height or not self.width:
            raise UserError(
                f'{self.where}: the size of the image {self.image} is not known: give the folder of images (--images), '
                'or "width" and "height" in the file.'
            )
        return self.height, self.width

    @property
    def own_box(self) -> list[float] | None:
        """The box, unless there is a mask and the box is the one around it."""
        if self.box is None or self.mask is None:
            return self.box
        around = mask_to_box(self.mask)
        return None if max(abs(a - b) for a, b in zip(self.box, around)) <= SAME_BOX else self.box

    def rle(self) -> dict:
        """The mask as an RLE that JSON can hold; it must have one."""
        assert self.mask is not None
        return with_text_counts(to_rle(self.mask, *self.size))


def check_size(width: Any, height: Any, where: str) -> None:
    """Raise UserError unless these are the sides of an image in pixels, or both are None."""
    if width is None and height is None:
        return
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in (width, height))
    if not whole or width * height > MAX_PIXELS:
        raise UserError(f'{where}: the size of the image cannot be {width!r:.20} x {height!r:.20} pixels.')


def check_record(one: LabelledObject) -> None:
    """Raise UserError unless split, score and box are of the right type."""
    if not isinstance(one.split, str | None):
        raise UserError(f'{one.where}: the split should be a text, not {one.split!r:.40}.')
    if one.score is not None and not is_numbers([one.score]):
        raise UserError(f'{one.where}: the score should be a number, not {one.score!r:.40}.')
    if one.box is not None and not (is_numbers(one.box) and len(one.box) == 4):
        raise UserError(f'{one.where}: the box should be four numbers, not {one.box!r:.60}.')


def by_image(objects: Sequence[LabelledObject]) -> list[list[LabelledObject]]:
    """The objects of each image and split together, in the order in which these first occur."""
    groups: dict[tuple, list[LabelledObject]] = {}
    for one in objects:
        groups.setdefault((one.image, one.split), []).append(one)
    return list(groups.values())


def size_of(group: Sequence[LabelledObject]) -> tuple[int, int]:
    """Height and width of the image that these objects are on; UserError if none of them has it."""
    return next((one for one in group if one.height and one.width), group[0]).size


def join_shapes(
    boxes: Sequence[list[float]], polygons: Polygons, rles: Sequence[dict], height: int, width: int
) -> tuple[list[float] | None, Mask | None]:
    """Box and mask of one object from its shapes.

    Polygons alone stay polygons; the union of an RLE and other shapes is an RLE.

    Raises:
        UserError: There are several boxes.
    """
    if len(boxes) > 1:
        raise UserError(f'one object has {len(boxes)} boxes: keep one, or do not connect them')
    box = boxes[0] if boxes else None
    if not rles:
        return box, list(polygons) or None
    parts = [*rles, *([to_rle(list(polygons), height, width)] if polygons else [])]
    return box, with_text_counts(union_of_rles([to_rle(part, height, width) for part in parts], height, width))


def without_empty(texts: Sequence[str]) -> list[str]:
    """The expressions without white space at their ends; empty ones are dropped."""
    return [text.strip() for text in texts if text.strip()]

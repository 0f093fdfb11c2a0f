import re
from collections.abc import Sequence
from typing import Literal

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.datasets.transforms import RandomFlip, Resize
from mmdet.structures.mask import BitmapMasks
from torch import Tensor

from mmuniqrnet.registry import TRANSFORMS
from mmuniqrnet.utils.errors import UserError

from .mirrored_text import mirror_text, swap_left_right
from .place_words import crop_may_falsify
from .words import has_foreign_letters

# The value of a mask's object while it is resized: in bytes, a quarter of float32; an even number, so that the mean of
# object and background is exactly the threshold.
OBJECT = np.uint8(254)


def rows_first(mask: np.ndarray) -> np.ndarray:
    """A mask [H, W] as uint8, 0 or 1, row by row in memory. Those of pycocotools are column by column.

    numpy's copy of a large mask into the other order takes longer than decoding the photograph; OpenCV's is faster.
    """
    mask = (mask != 0).view(np.uint8)
    return cv2.transpose(mask.T) if mask.flags.f_contiguous else mask


@TRANSFORMS.register_module()
class ReferResize(Resize):
    """mmdet's ``Resize``, with masks that stay on their objects.

    mmdet resizes bitmap masks by OpenCV's nearest neighbour, whose grid is shifted by up to a pixel from that of the
    bilinearly resized image. For images of a few hundred pixels this does not matter, but on a canvas of 64 pixels a
    small object loses a tenth of its IoU. Here masks are resized like the image, with a threshold of one half.
    """

    def _resize_masks(self, results: dict) -> None:
        if results.get('gt_masks') is None:
            return
        height, width = results['img_shape']
        if (results['gt_masks'].height, results['gt_masks'].width) == (height, width):
            return
        masks = [
            mmcv.imresize(rows_first(mask) * OBJECT, (width, height), interpolation='bilinear', backend='cv2')
            >= OBJECT // 2
            for mask in results['gt_masks'].masks
        ]
        results['gt_masks'] = BitmapMasks([mask.astype(np.uint8) for mask in masks], height, width)


@TRANSFORMS.register_module()
class GuardedCrop(BaseTransform):
    """Crops at random, but keeps the object that the expression refers to (QRNet's recipe, from TransVG).

    The image is resized to a random short side first. The centre of the object's box stays inside the crop; box and
    mask are cut to it. Items whose expression names a position in the image are not cropped, since it may become wrong.

    Args:
        prob: The probability of a crop.
        short_sides: Short sides to choose from, in pixels.
        crop_size: Smallest and largest side of the crop, in pixels; width and height are drawn independently.
        words: Words that forbid a crop, in lower case, by their beginnings; by default those of TransVG and QRNet.
            ``'all'``: every expression that a crop may make wrong (:func:`crop_may_falsify`; our design).

    Raises:
        UserError: ``words`` is another string, or empty.
    """

    def __init__(
        self,
        prob: float = 0.5,
        short_sides: Sequence[int] = (400, 500, 600),
        crop_size: tuple[int, int] = (384, 600),
        words: Sequence[str] | Literal['all'] = ('left', 'right', 'top', 'bottom', 'middle'),
    ) -> None:
        self.prob = prob
        self.short_sides = tuple(short_sides)
        self.crop_size = tuple(crop_size)
        if (isinstance(words, str) and words != 'all') or not words:
            raise UserError(f"GuardedCrop: words should be 'all' or a list of words, not {words!r}.")
        self.words = words if isinstance(words, str) else tuple(words)
        # Beginnings of words: "leftmost" and "rightmost" also name a position, but "bright" does not.
        self._places = re.compile(r'\b(' + '|'.join(map(re.escape, words)) + ')', re.IGNORECASE)

    def forbids(self, text: str) -> bool:
        """Whether an item with this expression is never cropped."""
        return crop_may_falsify(text) if self.words == 'all' else self._places.search(text) is not None

    @cache_randomness
    def _draw(self) -> tuple[bool, int, np.ndarray]:
        """Whether to crop, the short side, and four numbers in 0..1 for the crop's size and position."""
        return np.random.rand() < self.prob, int(np.random.choice(self.short_sides)), np.random.rand(4)

    def transform(self, results: dict) -> dict:
        """Needs ``img``, ``text`` and one or more ``gt_bboxes``; cuts them and ``gt_masks``."""
        crops, short_side, random = self._draw()
        if not crops or not len(results['gt_bboxes']) or self.forbids(results['text']):
            return results
        results = ReferResize(scale=(short_side, 10**6), keep_ratio=True)(results)
        height, width = results['img_shape']
        least, largest = self.crop_size
        crop_w, crop_h = (min(side, least + int(u * (largest - least + 1))) for side, u in zip((width, height), random))
        boxes = results['gt_bboxes'].tensor
        # All centres stay inside, so that an expression of several objects keeps them all, if possible.
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        left = self._start(centers[:, 0], width, crop_w, random[2])
        top = self._start(centers[:, 1], height, crop_h, random[3])
        if left is None or top is None:
            return results
        results['img'] = np.ascontiguousarray(results['img'][top : top + crop_h, left : left + crop_w])
        results['img_shape'] = (crop_h, crop_w)
        results['gt_bboxes'].translate_([-left, -top])
        results['gt_bboxes'].clip_((crop_h, crop_w))
        if 'gt_masks' in results:
            results['gt_masks'] = results['gt_masks'].crop(np.array([left, top, left + crop_w, top + crop_h]))
        return results

    @staticmethod
    def _start(centers: Tensor, size: int, crop: int, random: float) -> int | None:
        """A start of the crop such that it contains all centres, chosen by ``random`` (0..1); None if there is none."""
        low = max(0, int(np.floor(float(centers.max()))) - crop + 1)
        high = min(size - crop, int(np.floor(float(centers.min()))))
        return None if low > high else low + min(int(random * (high - low + 1)), high - low)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(prob={self.prob}, short_sides={self.short_sides}, crop_size={self.crop_size}, '
            f'words={self.words!r})'
        )


@TRANSFORMS.register_module()
class RandomFlipWithText(BaseTransform):
    """Flips image, boxes and masks horizontally, and exchanges left and right in the expression.

    If an expression has letters that are not Latin, neither text nor image is flipped, because its words for left and
    right are not known. The flipping itself is mmdet's ``RandomFlip``, which ignores the text.

    Args:
        prob: The probability of a flip.
        words: ``'whole'``, as in QRNet: whole words only ("left", "rightmost"); an expression with others is flipped as
            if it named no side. ``'all'``: also parts of words, abbreviations and hours of a clock face; where the
            expression is in doubt, the item is not flipped (:func:`mirror_text`; our design).

    Raises:
        UserError: ``words`` is neither.
    """

    def __init__(self, prob: float = 0.5, words: Literal['whole', 'all'] = 'whole') -> None:
        if words not in ('whole', 'all'):
            raise UserError(f"RandomFlipWithText: words should be 'whole' or 'all', not {words!r}.")
        self.prob = prob
        self.words = words
        self.flip = RandomFlip(prob=1.0, direction='horizontal')

    @cache_randomness
    def _flips(self) -> bool:
        return np.random.rand() < self.prob

    def transform(self, results: dict) -> dict:
        """Needs ``img`` and ``text``; sets ``flip`` and ``flip_direction``."""
        text = self.mirrored(results['text']) if self._flips() else None
        if text is None:
            results.update(flip=False, flip_direction=None)
            return results
        results = self.flip(results)
        results['text'] = text
        return results

    def mirrored(self, text: str) -> str | None:
        """The expression for the flipped image; None if it is not known."""
        if self.words == 'all':
            return mirror_text(text)
        return None if has_foreign_letters(text) else swap_left_right(text)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, words={self.words!r})'

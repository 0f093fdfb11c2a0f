"""ReferResize: masks stay on their objects."""

import numpy as np
import pytest
from mmdet.datasets.transforms import Resize
from mmdet.structures.mask import BitmapMasks

from mmuniqrnet.datasets.transforms import ReferResize


def resized(transform: type, box: tuple[int, int, int, int], size: int) -> float:
    """IoU of the resized mask with the resized image's bright part; the object fills the box in a 100 x 80 image."""
    x1, y1, x2, y2 = box
    mask = np.zeros((1, 80, 100), np.uint8)
    mask[:, y1:y2, x1:x2] = 1
    img = np.repeat(mask[0][..., None] * 255, 3, axis=2)
    out = transform(scale=(size, size), keep_ratio=True)(
        dict(img=img, img_shape=(80, 100), gt_masks=BitmapMasks(mask, 80, 100))
    )
    bright, mask = out['img'][..., 0] >= 128, out['gt_masks'].masks[0] > 0
    assert bright.shape == mask.shape == out['img_shape']
    return (bright & mask).sum() / (bright | mask).sum()


@pytest.mark.parametrize('size', [33, 64, 77, 160])
def test_mask_lies_on_the_object(size):
    rng = np.random.default_rng(0)
    boxes = [
        (x, y, x + w, y + h)
        for x, y, w, h in zip(
            rng.integers(0, 60, 30), rng.integers(0, 45, 30), rng.integers(15, 40, 30), rng.integers(15, 35, 30)
        )
    ]
    ours = np.mean([resized(ReferResize, box, size) for box in boxes])
    assert ours > 0.995
    assert ours >= np.mean([resized(Resize, box, size) for box in boxes])


def test_no_masks_is_fine():
    out = ReferResize(scale=(50, 50), keep_ratio=True)(dict(img=np.zeros((80, 100, 3), np.uint8), img_shape=(80, 100)))
    assert out['img_shape'] == (40, 50) and 'gt_masks' not in out


@pytest.mark.parametrize('order', ['C', 'F'])
@pytest.mark.parametrize('size', [(130, 90), (57, 41), (400, 300)])
def test_a_cell_belongs_to_the_mask_if_the_object_has_half_of_the_interpolated_value(order, size):
    """In float64, with the formula of bilinear interpolation written out; only near ties may bytes round otherwise."""
    height, width = 94, 106
    ys, xs = np.mgrid[:height, :width]
    mask = (((ys - 40) / 30) ** 2 + ((xs - 50) / 44) ** 2 < 1) & ((ys - 45) ** 2 + (xs - 60) ** 2 > 90)
    bitmap = BitmapMasks(np.asarray(mask[None], np.uint8), height, width)
    bitmap.masks = np.asarray(bitmap.masks, order=order)
    out = ReferResize(scale=size, keep_ratio=False)(
        dict(img=np.zeros((height, width, 3), np.uint8), img_shape=(height, width), gt_masks=bitmap)
    )

    def weights(old: int, new: int) -> np.ndarray:
        place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.minimum(np.floor(place).astype(int), old - 2)
        matrix = np.zeros((new, old))
        matrix[np.arange(new), low] = 1 - (place - low)
        matrix[np.arange(new), low + 1] += place - low
        return matrix

    expected = weights(height, size[1]) @ mask.astype(np.float64) @ weights(width, size[0]).T
    unsure = abs(expected - 0.5) < 0.002
    assert unsure.mean() < 0.01
    got = out['gt_masks'].masks[0] > 0
    assert (got == (expected >= 0.5))[~unsure].all()


def test_a_tie_counts_as_object():
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[:, :, 5:] = 1  # halved, the third column is the mean of one column of background and one of object
    out = ReferResize(scale=(10, 10))(
        dict(img=np.zeros((20, 20, 3), np.uint8), img_shape=(20, 20), gt_masks=BitmapMasks(mask, 20, 20))
    )
    assert out['gt_masks'].masks[0][:, :4].tolist() == [[0, 0, 1, 1]] * 10


def test_every_value_but_zero_is_object():
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[:, 5:15, 5:15] = 255
    out = ReferResize(scale=(40, 40))(
        dict(img=np.zeros((20, 20, 3), np.uint8), img_shape=(20, 20), gt_masks=BitmapMasks(mask, 20, 20))
    )
    assert out['gt_masks'].masks.sum() == 400 and out['gt_masks'].masks.max() == 1

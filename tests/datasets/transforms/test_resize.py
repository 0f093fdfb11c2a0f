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

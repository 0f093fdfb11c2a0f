"""GuardedCrop: what is asked for stays in the picture, and what is said stays true."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from mmuniqrnet.datasets.transforms import GuardedCrop, LoadReferAnnotations
from mmuniqrnet.utils.errors import UserError


def item(text: str = 'red cup', height: int = 90, width: int = 120, box=(70, 20, 100, 60)) -> dict:
    """An image whose first channel is 200 just inside the box, as the mask is."""
    x1, y1, x2, y2 = box
    mask = np.zeros((1, height, width), np.uint8)
    mask[:, y1:y2, x1:x2] = 1
    img = np.zeros((height, width, 3), np.uint8)
    img[..., 0] = mask[0] * 200
    return dict(
        img=img,
        img_shape=(height, width),
        text=text,
        gt_masks=BitmapMasks(mask, height, width),
        gt_bboxes=HorizontalBoxes(torch.tensor([box], dtype=torch.float32)),
    )


def crop(**settings) -> GuardedCrop:
    return GuardedCrop(**{**dict(prob=1.0, short_sides=(60, 90), crop_size=(40, 70)), **settings})


def test_image_mask_and_box_are_cut_alike():
    np.random.seed(0)
    sizes = set()
    for _ in range(200):
        out = crop()(item())
        height, width = out['img'].shape[:2]
        assert out['img_shape'] == (height, width) == (out['gt_masks'].height, out['gt_masks'].width)
        assert 40 <= height <= 70 and 40 <= width <= 70
        sizes.add((height, width))
        bright = out['img'][..., 0] > 100
        mask = out['gt_masks'].masks[0] > 0
        assert (bright & mask).sum() / (bright | mask).sum() > 0.9
        ys, xs = np.nonzero(mask)
        expected = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert np.abs(out['gt_bboxes'].tensor[0].numpy() - expected).max() <= 1.01
        # At least a quarter of the object stays, since its centre does.
        full = 30 * 40 * (60 / 90) ** 2
        assert mask.sum() > 0.2 * full
    assert len(sizes) > 50


@pytest.mark.parametrize('text', ['left cup', 'the RIGHT one', 'leftmost', 'cup on top', 'bottom', 'in the middle'])
def test_an_expression_that_names_a_place_is_not_cropped(text):
    np.random.seed(0)
    for _ in range(20):
        assert crop()(item(text))['img'].shape[:2] == (90, 120)


@pytest.mark.parametrize('text', ['bright cup', 'the stopper', 'cup'])
def test_a_word_that_only_holds_one_is_no_place(text):
    np.random.seed(0)
    assert any(crop()(item(text))['img'].shape[:2] != (90, 120) for _ in range(5))


@pytest.mark.parametrize('text', ['center cup', 'topleft', 'cup on the end', 'biggest cup'])
def test_all_words_are_heeded_only_where_asked_for(text):
    np.random.seed(0)
    assert any(crop()(item(text))['img'].shape[:2] != (90, 120) for _ in range(5)) or text == 'topleft'
    assert all(crop(words='all')(item(text))['img'].shape[:2] == (90, 120) for _ in range(20))
    assert any(crop(words='all')(item())['img'].shape[:2] != (90, 120) for _ in range(5))


@pytest.mark.parametrize('words', ['left', '', ()])
def test_words_are_a_list_or_all(words):
    with pytest.raises(UserError, match="words should be 'all' or a list of words"):
        GuardedCrop(words=words)


@pytest.mark.parametrize('first', [dict(), dict(bbox=[0.0, 0.0, 6.0, 6.0])], ids=['one object', 'one of two'])
def test_an_object_without_a_box_is_kept_by_its_mask(first):
    np.random.seed(0)
    corner = [[2, 2, 12, 2, 12, 12, 2, 12]]
    instances = [dict(mask=corner), dict(first, mask=corner)][: 1 + bool(first)]
    cropped = 0
    for _ in range(50):
        loaded = LoadReferAnnotations()(dict(item(), ori_shape=(90, 120), instances=instances))
        out = crop()(loaded)
        cropped += out['img'].shape[:2] != (90, 120)
        assert not out['has_box'] and out['gt_masks'].masks.any((1, 2)).all()
    assert cropped == 50


def test_never_with_probability_zero():
    assert crop(prob=0.0)(item())['img'].shape == (90, 120, 3)


def test_objects_too_far_apart_are_not_cropped():
    far = item(box=(0, 0, 10, 10))
    far['gt_bboxes'] = HorizontalBoxes(torch.tensor([[0.0, 0, 10, 10], [110, 80, 120, 90]]))
    out = crop(short_sides=(90,), crop_size=(40, 50))(far)
    assert out['img'].shape[:2] == (90, 120)

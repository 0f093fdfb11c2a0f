import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmuniqrnet.structures.masks import tight_box
from mmuniqrnet.structures.overlap import box_iou, mask_overlap, ratio, resize_nearest


def random_boxes(rng, count):
    corner = rng.uniform(0, 400, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(0.1, 300, (count, 2))], axis=1)


def test_box_iou_is_pycocotools_continuous_one():
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 50), random_boxes(rng, 50)
    to_xywh = lambda boxes: np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)  # noqa: E731
    expected = coco_mask.iou(to_xywh(a), to_xywh(b), [0] * 50)
    np.testing.assert_allclose(box_iou(a[:, None], b[None]), expected, atol=1e-12)


def test_box_iou_by_hand():
    assert box_iou([0, 0, 2, 1], [1, 0, 3, 1]) == pytest.approx(1 / 3)  # with "+1" it would be 4 / 8
    assert box_iou([0, 0, 2, 1], [2, 0, 3, 1]) == 0
    assert box_iou([2, 2, 1, 1], [0, 0, 4, 4]) == 0  # turned inside out: no area, not a negative one
    assert box_iou([1, 1, 1, 1], [1, 1, 1, 1]) == 0


def test_mask_overlap_is_pycocotools():
    rng = np.random.default_rng(1)
    for _ in range(10):
        a, b = rng.random((2, 13, 17)) > 0.5
        expected = coco_mask.iou(
            [coco_mask.encode(np.asfortranarray(a, np.uint8))], [coco_mask.encode(np.asfortranarray(b, np.uint8))], [0]
        )[0, 0]
        assert ratio(*mask_overlap(a, b)) == pytest.approx(expected)


def test_mask_overlap_does_not_broadcast():
    with pytest.raises(ValueError, match=r'\(1, 4\) and one \(3, 4\)'):
        mask_overlap(np.ones((1, 4), bool), np.ones((3, 4), bool))


def test_tight_box_is_pycocotools_bbox():
    rng = np.random.default_rng(2)
    for _ in range(20):
        mask = rng.random((9, 12)) > 0.93
        if mask.any():
            x, y, w, h = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask, np.uint8)))
            assert tight_box(mask) == [x, y, x + w, y + h]
    assert tight_box(np.zeros((3, 3), bool)) is None


def test_resize_nearest_takes_the_neighbour_of_the_library_it_names():
    mask = np.zeros((4, 9), dtype=bool)
    mask[:, 4] = True
    # of nine columns three remain: centres 1, 4, 7 with Pillow, corners 0, 3, 6 with OpenCV
    np.testing.assert_array_equal(resize_nearest(mask, 2, 3, 'pillow'), [[False, True, False]] * 2)
    np.testing.assert_array_equal(resize_nearest(mask, 2, 3, 'opencv'), [[False] * 3] * 2)
    assert resize_nearest(mask, 8, 18, 'pillow').sum() == resize_nearest(mask, 8, 18, 'opencv').sum() == 16

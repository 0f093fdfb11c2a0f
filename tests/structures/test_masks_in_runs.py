"""Overlap and union of masks in run-length form are those of the bitmaps."""

import numpy as np
import pytest

from mmuniqrnet.structures.masks import decode_mask, encode_mask, overlap_with_rle, union_of_rles
from mmuniqrnet.structures.truth import truth_mask


def bitmaps(height: int, width: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    masks = [random.random((height, width)) < share for share in (0.05, 0.5, 0.95)]
    corner, last = np.zeros((2, height, width), dtype=bool)
    corner[0, 0] = last[-1, -1] = True
    middle = np.zeros((height, width), dtype=bool)
    middle[height // 3 : height // 2, width // 3 : width // 2] = True
    return [*masks, corner, last, middle, np.zeros_like(corner), np.ones_like(corner)]


@pytest.mark.parametrize('size', [(1, 1), (7, 5), (30, 40)])
def test_overlap_is_that_of_the_bitmaps(size):
    for truth in bitmaps(*size):
        for mask in bitmaps(*size):
            expected = np.count_nonzero(mask & truth), np.count_nonzero(mask | truth)
            assert overlap_with_rle(mask, encode_mask(truth)) == expected


def test_overlap_counts_runs_of_length_zero_and_lists():
    mask = np.ones((2, 3), dtype=bool)
    assert overlap_with_rle(mask, dict(size=[2, 3], counts=[0, 0, 2, 1, 3, 0])) == (1, 6)


def test_overlap_needs_equal_sizes():
    with pytest.raises(ValueError, match='same size'):
        overlap_with_rle(np.ones((3, 2), dtype=bool), dict(size=[2, 3], counts=[6]))


def test_union_is_that_of_the_bitmaps():
    masks = bitmaps(30, 40)[:6]
    expected = np.any(masks, axis=0)
    assert (decode_mask(union_of_rles([encode_mask(m) for m in masks], 30, 40), 30, 40) == expected).all()
    assert not decode_mask(union_of_rles([], 30, 40), 30, 40).any()
    assert (truth_mask([dict(mask=encode_mask(m)) for m in masks], 30, 40) == expected).all()

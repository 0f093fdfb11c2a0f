import numpy as np
import pytest
from helpers.paths import needs_mini
from helpers.refer_samples import mini_items, rectangle, square
from pycocotools import mask as coco_mask

from mmuniqrnet.structures.masks import decode_mask, encode_mask
from mmuniqrnet.structures.truth import truth_box, truth_mask


def uncompressed(mask):
    flat = mask.flatten(order='F')
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat]))).tolist()
    return dict(size=list(mask.shape), counts=np.diff([0, *changes, flat.size]).tolist())


def test_all_encodings_are_one_mask():
    mask = rectangle((2, 1, 5, 7))
    compressed = encode_mask(mask)
    as_bytes = dict(compressed, counts=compressed['counts'].encode())
    polygon = [[2, 1, 5, 1, 5, 7, 2, 7]]
    for segmentation in (compressed, as_bytes, uncompressed(mask), polygon):
        np.testing.assert_array_equal(decode_mask(segmentation, 8, 8), mask)


def test_several_instances_are_their_union_and_have_no_single_box():
    instances = [*square(0, truth=(0, 0, 3, 3))['instances'], *square(0, truth=(2, 2, 6, 6))['instances']]
    np.testing.assert_array_equal(truth_mask(instances, 8, 8), rectangle((0, 0, 3, 3)) | rectangle((2, 2, 6, 6)))
    assert truth_box(instances) is None
    assert truth_box(instances[:1]) == [0, 0, 3, 3]
    del instances[1]['mask']
    assert truth_mask(instances, 8, 8) is None


def test_no_instance_is_an_empty_mask():
    assert not truth_mask([], 8, 8).any()
    assert truth_box([]) is None


@pytest.mark.parametrize(
    'segmentation',
    [[], [[]], [[1, 2, 3, 4]], [1, 2, 3, 4, 5, 6], dict(size=[8, 8]), 'mask.png', [[1, 2, 3, 4, 5, 6, 7]]],
)
def test_what_is_no_mask_is_said(segmentation):
    with pytest.raises(ValueError, match='must be a list of polygons'):
        decode_mask(segmentation, 8, 8)


def test_rle_of_another_image_is_said():
    with pytest.raises(ValueError, match=r'size \[8, 8\], but its image is \[8, 9\]'):
        decode_mask(encode_mask(rectangle(None)), 8, 9)


@needs_mini
def test_real_polygons_are_as_pycocotools_reads_them():
    items, coco = mini_items('refcocog')
    for item in items:
        expected = coco.annToMask(coco.anns[item['ann_id']]) > 0
        np.testing.assert_array_equal(truth_mask(item['instances'], *item['ori_shape']), expected)
        assert coco_mask.area(coco_mask.encode(np.asfortranarray(expected, np.uint8))) > 0

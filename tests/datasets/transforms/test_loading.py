import copy

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmuniqrnet.datasets.transforms import LoadReferAnnotations

H, W = 30, 40
POLYGONS = [[5.0, 4.0, 20.5, 4.0, 20.5, 15.25, 5.0, 15.25], [25.0, 20.0, 35.0, 22.0, 30.0, 28.0]]
BITMAP = np.zeros((H, W), np.uint8, order='F')
BITMAP[3:17, 6:25] = 1
BYTES_RLE = mask_utils.encode(BITMAP)
TEXT_RLE = dict(BYTES_RLE, counts=BYTES_RLE['counts'].decode())
BOX = [5.0, 3.5, 25.0, 17.25]


def uncompressed(bitmap):
    pixels = bitmap.flatten(order='F')
    ends = np.flatnonzero(np.diff(pixels)) + 1
    return dict(size=list(bitmap.shape), counts=np.diff([0, *ends, len(pixels)]).tolist())


def load(*instances, with_mask=True):
    results = dict(img_path='a/b.jpg', text='the cup', sent_id=7, ori_shape=(H, W), instances=list(instances))
    return LoadReferAnnotations(with_mask=with_mask)(results)


@pytest.mark.parametrize(
    'mask', [BYTES_RLE, TEXT_RLE, uncompressed(BITMAP)], ids=['bytes', 'compressed', 'uncompressed']
)
def test_every_kind_of_rle(mask):
    out = load(dict(bbox=BOX, mask=mask))
    assert np.array_equal(out['gt_masks'].to_ndarray(), BITMAP[None])
    assert out['has_box'] and out['has_mask']


def test_polygons_are_those_of_pycocotools():
    out = load(dict(bbox=BOX, mask=POLYGONS))
    expected = mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects(POLYGONS, H, W)))
    assert np.array_equal(out['gt_masks'].to_ndarray()[0], expected) and 150 < expected.sum() < 250


def test_boxes_keep_their_fractions():
    assert load(dict(bbox=BOX, mask=POLYGONS))['gt_bboxes'].tensor.tolist() == [BOX]


def test_several_objects():
    out = load(dict(bbox=BOX, mask=TEXT_RLE), dict(bbox=[0.0, 0.0, 2.0, 2.0], mask=POLYGONS))
    assert len(out['gt_bboxes']) == len(out['gt_masks']) == len(out['gt_bboxes_labels']) == 2


def test_boxes_only():
    out = load(dict(bbox=BOX))
    assert (out['has_box'], out['has_mask']) == (True, False)
    assert out['gt_bboxes'].tensor.tolist() == [BOX] and not out['gt_masks'].to_ndarray().any()


@pytest.mark.parametrize('instance', [dict(mask=TEXT_RLE), dict(mask=TEXT_RLE, bbox=None)])
def test_masks_only(instance):
    out = load(instance)
    assert (out['has_box'], out['has_mask']) == (False, True)
    assert np.array_equal(out['gt_masks'].to_ndarray(), BITMAP[None])
    assert out['gt_bboxes'].tensor.tolist() == [[6, 3, 25, 17]]  # a placeholder at the object, for crops


def test_masks_are_not_decoded_where_they_are_not_wanted():
    out = load(dict(bbox=BOX, mask=TEXT_RLE), with_mask=False)
    assert 'gt_masks' not in out and out['has_mask'] is False and out['has_box']


def test_no_object():
    out = load()
    assert len(out['gt_bboxes']) == 0 and out['gt_masks'].to_ndarray().shape == (0, H, W)


@pytest.mark.parametrize('instance', [dict(bbox=BOX, mask=POLYGONS), dict(bbox=BOX), dict(mask=BYTES_RLE)])
def test_the_truth_of_the_metric_is_untouched(instance):
    given = copy.deepcopy(instance)
    assert load(instance)['instances'] == [given] and instance == given


@pytest.mark.parametrize(
    'instance, with_mask', [(dict(), True), (dict(bbox_label=0), True), (dict(mask=TEXT_RLE), False)]
)
def test_neither_box_nor_mask_is_refused(instance, with_mask):
    with pytest.raises(
        ValueError, match=r"a/b.jpg, expression 'the cup' \(sent_id 7\): it has neither a box nor a mask"
    ):
        load(instance, with_mask=with_mask)


@pytest.mark.parametrize(
    'mask', [[], [[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0, 4.0]], dict(size=[H, W]), dict(counts=[1200])]
)
def test_a_mask_that_is_none_is_refused(mask):
    with pytest.raises(ValueError, match=r'a/b.jpg, expression .* its mask is neither polygons .* nor an RLE'):
        load(dict(bbox=BOX, mask=mask))


def test_a_mask_of_another_size_is_refused():
    """As of a photo that was turned by its EXIF tag; 40 x 30 has the same number of pixels and would be scrambled."""
    turned = mask_utils.encode(np.asfortranarray(BITMAP.T))
    with pytest.raises(
        ValueError, match=r'its mask is 40 x 30 \(height x width\), the image 30 x 40;.*ignore_orientation'
    ):
        load(dict(bbox=BOX, mask=turned))

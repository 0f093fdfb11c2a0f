import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmuniqrnet.structures.masks import area_share, as_mask, decode_mask, mask_area, mask_to_box, to_rle
from mmuniqrnet.structures.rle import run_lengths
from mmuniqrnet.utils.errors import UserError


def encode(mask):
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))


def runs_of(mask):
    flat = np.concatenate([[False], mask.flatten(order='F')])
    return np.diff([0, *np.flatnonzero(np.diff(flat)), flat.size - 1]).tolist()


def random_masks():
    rng = np.random.default_rng(0)
    for number in range(300):
        height, width = rng.integers(1, 70, 2)
        if number % 2:
            yield rng.random((height, width)) < rng.random()
        else:
            mask = np.zeros((height, width), dtype=bool)
            mask[rng.integers(0, height) :, rng.integers(0, width) :] = True
            yield mask


def test_compressed_runs_are_the_runs_of_the_pixels():
    large = np.zeros((3000, 4000), dtype=bool)  # runs of several characters
    large[5:, 3990:] = True
    for mask in [*random_masks(), large]:
        rle = encode(mask)
        expected = runs_of(mask)
        assert run_lengths(rle).tolist() == expected
        assert run_lengths(dict(rle, counts=rle['counts'].decode())).tolist() == expected
        assert run_lengths(dict(rle, counts=expected)).tolist() == expected
        assert mask_area(rle) == mask.sum()


SMALL = encode(np.eye(20, 30, dtype=np.uint8))
BAD = {
    'string of a smaller mask': (dict(size=[40, 60], counts=SMALL['counts']), 'add up to 600 pixels.* has 2400'),
    'string of a larger mask': (dict(size=[10, 30], counts=SMALL['counts']), 'add up to 600 pixels.* has 300'),
    'list of a smaller mask': (dict(size=[40, 60], counts=[100, 500]), 'add up to 600 pixels.* has 2400'),
    'bytes as text': (dict(size=[20, 30], counts=str(SMALL['counts'])), 'bytes written as text'),
    'bytes as text, bytes': (dict(size=[20, 30], counts=str(SMALL['counts']).encode()), 'bytes written as text'),
    'negative run': (dict(size=[2, 2], counts=[5, -1]), 'negative'),
    'negative compressed run': (dict(size=[2, 2], counts='5O'), 'negative'),
    'other characters': (dict(size=[2, 2], counts='4~'), 'other characters'),
    'not ASCII': (dict(size=[2, 2], counts='4é'), 'other characters'),
    'cut off': (dict(size=[2, 2], counts='4P'), 'cut off or damaged'),
    'endless number': (dict(size=[2, 2], counts='P' * 30 + '0'), 'cut off or damaged'),
    'empty string': (dict(size=[2, 2], counts=''), 'or none'),
    'empty list': (dict(size=[2, 2], counts=[]), 'add up to 0'),
    'floats': (dict(size=[2, 2], counts=[2.0, 2.0]), 'should have "counts"'),
    'huge run': (dict(size=[2, 2], counts=[2**40]), 'longer than any image'),
    'beyond 64 bits': (dict(size=[2, 2], counts=[2**70]), 'longer than any image'),
    'size of three': (dict(size=[2, 2, 1], counts=[4]), 'should have "size"'),
    'size of zero': (dict(size=[0, 2], counts=[0]), 'should have "size"'),
    'size of text': (dict(size='22', counts=[4]), 'should have "size"'),
    'no size': (dict(counts=[4]), 'should have "size"'),
}


@pytest.mark.parametrize('read', [run_lengths, mask_area, area_share, mask_to_box, lambda rle: to_rle(rle, 2, 2)])
@pytest.mark.parametrize('rle, reason', BAD.values(), ids=BAD)
def test_every_way_in_refuses_runs_that_do_not_fill_the_size(rle, reason, read):
    with pytest.raises(UserError, match=reason):
        read(rle)


@pytest.mark.parametrize('rle, reason', BAD.values(), ids=BAD)
def test_decoding_and_merging_refuse_them_too(rle, reason):
    with pytest.raises(UserError, match=reason):
        as_mask([rle, rle])
    size = rle.get('size')
    if isinstance(size, list) and len(size) == 2:
        with pytest.raises(UserError, match=reason):
            decode_mask(rle, *size)


def test_decoded_masks_are_those_of_pycocotools():
    for mask in random_masks():
        rle = encode(mask)
        for counts in (rle['counts'], rle['counts'].decode(), runs_of(mask), np.array(runs_of(mask))):
            assert (decode_mask(dict(rle, counts=counts), *mask.shape) == mask).all()


@pytest.mark.parametrize('part', [[0, 0, 1e300, 0, 1, 1], [0, 0, float('nan'), 0, 1, 1], [0, 0, '1', 0, 1, 1]])
def test_polygons_that_would_fill_the_memory_or_are_no_numbers(part):
    with pytest.raises(UserError, match='must be a list of polygons'):
        decode_mask([part], 4, 4)

"""PreparedOnce gives what its transforms give, each time in copies, and applies them once to an object."""

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose

from mmuniqrnet.datasets.transforms import PreparedOnce
from mmuniqrnet.registry import TRANSFORMS
from mmuniqrnet.utils.errors import UserError

pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')

STEPS = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='LoadReferAnnotations'),
    dict(type='ReferResize', scale=(20, 20), keep_ratio=True),
]


def item(folder, sent_id: int, ann_id: int = 1) -> dict:
    left = 5 * ann_id
    polygon = [left, 4, left + 10, 4, left + 10, 20, left, 20]
    return dict(
        img_path=str(folder / 'a.png'),
        sent_id=sent_id,
        ann_id=ann_id,
        text=f'thing {sent_id}',
        instances=[dict(bbox=[left, 4, left + 10, 20], mask=[polygon], bbox_label=0, ignore_flag=0)],
    )


@pytest.fixture
def folder(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    return tmp_path


def assert_equal(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        if name == 'gt_bboxes':
            assert (ours[name].tensor == value.tensor).all()
        elif name == 'gt_masks':
            assert (ours[name].masks == value.masks).all()
        else:
            assert np.all(ours[name] == value), name


def test_it_gives_what_the_transforms_give(folder):
    once, plain = TRANSFORMS.build(dict(type='PreparedOnce', transforms=STEPS, keep=10)), Compose(STEPS)
    for sent_id, ann_id in [(1, 1), (2, 1), (3, 2), (4, 1), (3, 2)]:
        found = once(item(folder, sent_id, ann_id))
        assert_equal(found, plain(item(folder, sent_id, ann_id)))
        # Changes in place, as those of a flip, do not reach what is kept.
        found['img'][:] = 0
        found['gt_masks'].masks[:] = 0
        found['gt_bboxes'].flip_((15, 20))


def test_it_applies_them_once_to_an_object(folder):
    once = PreparedOnce(transforms=STEPS, keep=2)
    for sent_id in range(3):
        once(item(folder, sent_id))
    once(item(folder, 3, ann_id=2))
    assert once._images[item(folder, 0)['img_path']] is once._items[str(folder / 'a.png'), '2']['img']
    (folder / 'a.png').unlink()
    assert once(item(folder, 7))['text'] == 'thing 7'
    with pytest.raises(FileNotFoundError):
        once(item(folder, 8, ann_id=3))
    with pytest.raises(UserError, match='1 or more'):
        PreparedOnce(transforms=STEPS, keep=0)

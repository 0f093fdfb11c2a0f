import numpy as np
import torch
from helpers.tiny_model import batch_of, item, rectangle

from mmuniqrnet.models.data_preprocessor import ReferDataPreprocessor
from mmuniqrnet.models.heads.targets import make_targets

BOX, OTHER = [8.0, 4.0, 24.0, 20.0], [30.0, 10.0, 50.0, 44.0]
MASK, OTHER_MASK = rectangle(48, 64, 8, 4, 24, 20), rectangle(48, 64, 30, 10, 50, 44)


def targets(*items):
    preprocessor = ReferDataPreprocessor(canvas_size=(64, 80), placement='center')
    return make_targets(preprocessor(batch_of(items), training=True)['data_samples'], torch.device('cpu'))


def on_canvas(mask):
    canvas = np.zeros((64, 80), dtype=np.float32)
    canvas[8:56, 8:72] = mask  # 48 x 64 in the middle of 64 x 80
    return torch.from_numpy(canvas)


def test_one_object():
    t = targets(item(boxes=[BOX], masks=[MASK]))
    assert torch.allclose(t.boxes, torch.tensor([[(16 + 8) / 80, (12 + 8) / 64, 16 / 80, 16 / 64]]))
    assert torch.equal(t.masks[0, 0], on_canvas(MASK))
    assert (t.has_box, t.has_mask, t.exists) == (torch.ones(1), torch.ones(1), torch.ones(1))
    assert torch.equal(t.inside[0, 0], on_canvas(np.ones((48, 64))))


def test_several_objects_are_one_union_and_the_box_around_all():
    t = targets(item(boxes=[BOX, OTHER], masks=[MASK, OTHER_MASK]))
    x1, y1, x2, y2 = 8 + 8, 4 + 8, 50 + 8, 44 + 8
    assert torch.allclose(t.boxes, torch.tensor([[(x1 + x2) / 160, (y1 + y2) / 128, (x2 - x1) / 80, (y2 - y1) / 64]]))
    assert torch.equal(t.masks[0, 0], on_canvas(MASK | OTHER_MASK))


def test_overlapping_objects_count_once():
    t = targets(item(boxes=[BOX, BOX], masks=[MASK, MASK]))
    assert t.masks.max() == 1


def test_no_object_has_an_empty_mask_and_no_box():
    t = targets(item(boxes=[], masks=np.zeros((0, 48, 64))))
    assert (t.has_box, t.has_mask, t.exists) == (torch.zeros(1), torch.ones(1), torch.zeros(1))
    assert not t.masks.any()


def test_what_the_data_says_nothing_about():
    box_only = item(boxes=[BOX], masks=[np.zeros((48, 64))], has_box=True, has_mask=False)
    mask_only = item(boxes=[[0.0, 0.0, 64.0, 48.0]], masks=[MASK], has_box=False, has_mask=True)
    bare_box, bare_mask = item(boxes=[BOX]), item(masks=[MASK])
    t = targets(box_only, mask_only, bare_box, bare_mask)
    assert t.has_box.tolist() == [1, 0, 1, 0] and t.has_mask.tolist() == [0, 1, 0, 1]
    assert t.exists.tolist() == [1, 1, 1, 1]
    assert not t.masks[0].any() and torch.equal(t.masks[1], t.masks[3])
    assert torch.equal(t.boxes[0], t.boxes[2])


def test_a_smaller_bitmap_lies_at_the_top_left():
    """mmdet's DetDataPreprocessor without pad_mask leaves masks at the image's size."""
    one = item(boxes=[BOX], masks=[MASK])
    one['data_samples'].set_metainfo(dict(batch_input_shape=(64, 80)))
    t = make_targets([one['data_samples']], torch.device('cpu'))
    assert torch.equal(t.masks[0, 0, :48, :64], torch.from_numpy(MASK).float()) and t.masks.sum() == MASK.sum()

"""The box that a mask speaks of: exact on rectangles, and of one object where the mask hesitates between two."""

import pytest
import torch

from mmuniqrnet.models.heads.mask_and_box import box_around, extent, grow, peak


def shown(height: int, width: int, *boxes: tuple, inside: float = 30.0, outside: float = -30.0) -> torch.Tensor:
    logits = torch.full((1, 1, height, width), outside)
    for x1, y1, x2, y2, *value in boxes:
        logits[..., y1:y2, x1:x2] = value[0] if value else inside
    return logits


def cxcywh(x1: int, y1: int, x2: int, y2: int, height: int, width: int) -> list[float]:
    return [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]


@pytest.mark.parametrize('box', [(3, 2, 11, 9), (0, 0, 16, 12), (5, 7, 6, 8), (8, 0, 16, 6)])
def test_the_box_around_a_rectangle_is_the_rectangle(box):
    assert box_around(shown(12, 16, box))[0].tolist() == pytest.approx(cxcywh(*box, 12, 16), abs=1e-5)


def test_of_two_objects_the_larger_or_surer_one_is_boxed_alone():
    large, small = (1, 1, 7, 7), (11, 11, 14, 14)
    assert box_around(shown(16, 16, large, small))[0].tolist() == pytest.approx(cxcywh(*large, 16, 16), abs=1e-5)
    doubtful, sure = (1, 1, 6, 6, -1.0), (10, 10, 14, 14, 3.0)
    assert box_around(shown(16, 16, doubtful, sure, outside=-3.0))[0].tolist() == pytest.approx(
        cxcywh(10, 10, 14, 14, 16, 16), abs=1e-5
    )


def test_a_mask_that_is_nowhere_sure_has_a_box_too():
    # Half of the peak's probability, sigmoid(-2.75), lies midway between the logits in and around the object.
    faint = shown(16, 16, (4, 6, 10, 12), inside=-2.0, outside=-3.5)
    assert box_around(faint)[0].tolist() == pytest.approx(cxcywh(4, 6, 10, 12, 16, 16), abs=1 / 32)


def test_a_long_and_bent_object_on_a_large_mask_is_boxed_whole():
    bent = shown(160, 160, (10, 10, 20, 150), (10, 140, 150, 150), (140, 60, 150, 150))
    assert box_around(bent)[0].tolist() == pytest.approx(cxcywh(10, 10, 150, 150, 160, 160), abs=1e-5)


def test_anything_has_a_box_inside_the_canvas_and_the_batch_does_not_matter():
    torch.manual_seed(0)
    logits = torch.cat([torch.full((1, 1, 9, 14), v) for v in (-200.0, 0.0, 200.0)] + [torch.randn(20, 1, 9, 14) * 5])
    boxes = box_around(logits.requires_grad_())
    assert not boxes.requires_grad
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    assert (low >= -1e-6).all() and (high <= 1 + 1e-6).all() and (boxes[:, 2:] > 0).all()
    for i in range(len(logits)):
        assert torch.equal(box_around(logits[i : i + 1])[0], boxes[i])


def test_padding_has_no_say_and_cuts_to_the_pixel():
    logits = shown(16, 16, (0, 0, 16, 16), inside=3.0)
    padding = torch.ones(1, 64, 64, dtype=torch.bool)
    padding[:, 10:50, 6:64] = False
    assert box_around(logits, padding)[0].tolist() == pytest.approx(cxcywh(6, 10, 64, 50, 64, 64), abs=1e-5)
    # Surer on the padding than on the object.
    logits = shown(16, 16, (0, 0, 16, 4, 9.0), (6, 8, 10, 12, 2.0), outside=-2.0)
    padding = torch.zeros(1, 64, 64, dtype=torch.bool)
    padding[:, :16] = True
    assert box_around(logits, padding)[0].tolist() == pytest.approx(cxcywh(6, 8, 10, 12, 16, 16), abs=1e-5)


def test_grow_stays_in_its_region():
    region = torch.tensor([[1, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 1, 0, 1.0]])[None, None]
    seed = torch.zeros_like(region)
    seed[..., 0, 0] = 1
    expected = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0.0]])[None, None]
    assert torch.equal(grow(seed, region), expected)


def test_peak_is_one_place_per_map_and_on_something():
    torch.manual_seed(0)
    values = torch.rand(5, 1, 20, 30)
    found = peak(values)
    assert (found.sum((1, 2, 3)) == 1).all()
    assert ((values * found).sum((1, 2, 3)) >= values.amax((1, 2, 3)) / 2).all()


def test_extent_of_what_is_filled():
    centre, length = extent(torch.tensor([[0, 1, 0, 1, 0], [1, 1, 1, 1, 1]], dtype=torch.bool))
    assert centre.tolist() == pytest.approx([0.5, 0.5]) and length.tolist() == pytest.approx([0.6, 1.0])

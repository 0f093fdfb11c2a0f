"""The boxes that a mask shows: at all sizes and places, of one region and of all that is sure."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps

from mmuniqrnet.models.heads.mask_and_box import box_around, boxes_around, peak

STRIDE = 4
KINDS = ('square', 'rectangle', 'bar', 'L', 'ellipse', 'slanted bar')


def shown(height: int, width: int, *boxes: tuple, inside: float = 30.0, outside: float = -30.0) -> torch.Tensor:
    logits = torch.full((1, 1, height, width), outside)
    for x1, y1, x2, y2, *value in boxes:
        logits[..., y1:y2, x1:x2] = value[0] if value else inside
    return logits


def cxcywh(x1: int, y1: int, x2: int, y2: int, height: int, width: int) -> list[float]:
    return [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]


class Shapes:
    """Random masks of one size, and their boxes (xyxy, in cells)."""

    def __init__(self, height: int, width: int, seed: int = 0) -> None:
        self.height, self.width = height, width
        self.generator = torch.Generator().manual_seed(seed)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def draw(self, kind: str, side: float, thickness: float) -> torch.Tensor:
        """[h, w] bool. ``thickness`` is that of the bars of bars and of the letter L."""
        w, h = (min(side, n) for n in (self.width, self.height))
        if kind == 'rectangle':
            h *= self.between(0.5, 1)
        if kind == 'bar':
            h = thickness
        if self.between(0, 1) < 0.5 and max(w, h) <= min(self.width, self.height):
            w, h = h, w
        x, y = self.between(0, self.width - w), self.between(0, self.height - h)
        xs, ys = torch.arange(self.width) + 0.5 - x, torch.arange(self.height)[:, None] + 0.5 - y
        if kind == 'ellipse':
            return (2 * xs / w - 1) ** 2 + (2 * ys / h - 1) ** 2 < 1
        if kind == 'slanted bar':
            angle = self.between(0, math.pi)
            dx, dy = xs - w / 2, ys - h / 2
            along = dx * math.cos(angle) + dy * math.sin(angle)
            across = dy * math.cos(angle) - dx * math.sin(angle)
            return (along.abs() < min(w, h) / 2) & (across.abs() < thickness / 2)
        filled = (xs > 0) & (xs < w) & (ys > 0) & (ys < h)
        if kind == 'L':
            side_x = xs > thickness if self.between(0, 1) < 0.5 else xs < w - thickness
            side_y = ys > thickness if self.between(0, 1) < 0.5 else ys < h - thickness
            filled &= ~(side_x & side_y)
        return filled


def box_of(mask: torch.Tensor) -> torch.Tensor:
    """[h, w] bool -> xyxy."""
    ys, xs = mask.nonzero().unbind(1)
    return torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).float()


def iou(box: torch.Tensor, expected: torch.Tensor, height: int, width: int) -> float:
    """Of a box cxcywh in 0..1 and a box xyxy in cells or pixels."""
    box = bbox_cxcywh_to_xyxy(box) * torch.tensor([width, height, width, height])
    return bbox_overlaps(box[None], expected[None]).item()


# The box of a right mask ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize('canvas', [(640, 640), (480, 640), (64, 64), (64, 96)])
@pytest.mark.parametrize('kind', KINDS)
def test_the_box_of_a_hard_mask_is_exact_at_any_size_and_place(kind, canvas):
    height, width = (n // STRIDE for n in canvas)
    shapes = Shapes(height, width)
    masks = []
    for side in (16, 24, 32, 64, 96, 200, 500):
        if side <= max(canvas):
            masks += [shapes.draw(kind, side / STRIDE, max(side / 40, 3)) for _ in range(6)]
    masks = torch.stack([mask for mask in masks if mask.any()])
    boxes = box_around((masks.float() * 20 - 10)[:, None])
    for box, mask in zip(boxes, masks):
        assert iou(box, box_of(mask), height, width) > 0.999


@pytest.mark.parametrize('canvas', [640, 64])
@pytest.mark.parametrize('side', [16, 24, 32, 60])
@pytest.mark.parametrize('kind', ['square', 'L'])
def test_the_box_is_right_between_the_cells_too(kind, side, canvas):
    """Probabilities are the shares of the cells that the object covers: the mask that the loss teaches."""
    shapes = Shapes(canvas, canvas)
    masks = torch.stack([shapes.draw(kind, side, side / 2) for _ in range(40)])
    covered = F.avg_pool2d(masks[:, None].float(), STRIDE)
    for box, mask in zip(box_around(covered.logit(eps=1e-4)), masks):
        assert iou(box, box_of(mask), canvas, canvas) >= 0.95


@pytest.mark.parametrize('slope', [0.5, 1.0])
def test_the_box_of_a_soft_edge_is_where_the_enlarged_mask_ends(slope):
    """Logits that fall steadily across the edge, by 2 or 4 a cell."""
    shapes = Shapes(640, 640)
    for side in (16, 32, 100) * 8:
        x1, y1 = (shapes.between(0, 640 - side) for _ in 'xy')
        place = torch.arange(2.0, 640, STRIDE)
        xs, ys = (torch.minimum(place - low, low + side - place) for low in (x1, y1))
        logits = slope * torch.minimum(xs, ys[:, None])[None, None]
        expected = torch.tensor([x1, y1, x1 + side, y1 + side])
        assert iou(box_around(logits)[0], expected, 640, 640) >= 0.95


def test_a_mask_that_is_nowhere_sure_has_a_box_too():
    # Half of the peak's probability, sigmoid(-2.75), lies midway between the logits in and around the object.
    faint = shown(16, 16, (4, 6, 10, 12), inside=-2.0, outside=-3.5)
    assert box_around(faint)[0].tolist() == pytest.approx(cxcywh(4, 6, 10, 12, 16, 16), abs=1 / 32)


def test_a_long_and_bent_object_on_a_large_mask_is_boxed_whole():
    bent = shown(160, 160, (10, 10, 20, 150), (10, 140, 150, 150), (140, 60, 150, 150))
    assert box_around(bent)[0].tolist() == pytest.approx(cxcywh(10, 10, 150, 150, 160, 160), abs=1e-5)


# Which object --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [16, 160])
def test_of_two_objects_the_larger_or_surer_one_is_boxed_alone(size):
    k = size // 16
    large, small = (k, k, 7 * k, 7 * k), (11 * k, 11 * k, 14 * k, 14 * k)
    expected = pytest.approx(cxcywh(*large, size, size), abs=1e-5)
    assert box_around(shown(size, size, large, small))[0].tolist() == expected
    doubtful, sure = (k, k, 6 * k, 6 * k, -1.0), (10 * k, 10 * k, 14 * k, 14 * k, 3.0)
    assert box_around(shown(size, size, doubtful, sure, outside=-3.0))[0].tolist() == pytest.approx(
        cxcywh(10 * k, 10 * k, 14 * k, 14 * k, size, size), abs=1e-2
    )


@pytest.mark.parametrize('gap', [1, 2, 4, 8])
def test_a_neighbour_does_not_join_however_near(gap):
    for x in range(40, 46):  # any place within the cells of a coarser grid
        for side in (6, 10, 30):
            objects = [(x, 50, x + side, 50 + side), (x + side + gap, 50, x + side + gap + 4, 56)]
            box = box_around(shown(160, 160, *objects))[0]
            assert box.tolist() == pytest.approx(cxcywh(*objects[0], 160, 160), abs=1e-5), (x, side)
    touching = [(40, 50, 60, 70), (60, 70, 66, 76)]
    assert box_around(shown(160, 160, *touching))[0].tolist() == pytest.approx(cxcywh(40, 50, 66, 76, 160, 160))


@pytest.mark.parametrize('size', [16, 160])
def test_an_object_in_two_halves_is_whole_in_the_second_box(size):
    """Two halves 16 pixels of the canvas apart, and one whole object, for which both boxes are the same."""
    left, right = (2, 3, 6, 12), (10, 3, 14, 12)
    first, second = boxes_around(shown(size, size, left, right))[0].tolist()
    assert first in [pytest.approx(cxcywh(*part, size, size), abs=1e-5) for part in (left, right)]
    assert second == pytest.approx(cxcywh(2, 3, 14, 12, size, size), abs=1e-5)
    first, second = boxes_around(shown(size, size, left))[0].tolist()
    assert first == second == pytest.approx(cxcywh(*left, size, size), abs=1e-5)


# Padding, batches, extremes ------------------------------------------------------------------------------------------


def test_padding_has_no_say_and_cuts_to_the_pixel():
    logits = shown(16, 16, (0, 0, 16, 16), inside=3.0)
    padding = torch.ones(1, 64, 64, dtype=torch.bool)
    padding[:, 10:50, 6:64] = False
    expected = pytest.approx(cxcywh(6, 10, 64, 50, 64, 64), abs=1e-5)
    assert boxes_around(logits, padding)[0].tolist() == [expected, expected]
    # Surer on the padding than on the object.
    logits = shown(16, 16, (0, 0, 16, 4, 9.0), (6, 8, 10, 12, 2.0), outside=-2.0)
    padding = torch.zeros(1, 64, 64, dtype=torch.bool)
    padding[:, :16] = True
    expected = pytest.approx(cxcywh(6, 8, 10, 12, 16, 16), abs=1e-2)
    assert boxes_around(logits, padding)[0].tolist() == [expected, expected]


@pytest.mark.parametrize('canvas', [(640, 640), (480, 640), (64, 64)])
def test_an_object_at_the_image_border_reaches_it(canvas):
    """The mask is faint (logit 0.5) and the window lies anywhere between the cells."""
    height, width = canvas
    shapes = Shapes(*canvas)
    for _ in range(20):
        x1, y1 = (int(shapes.between(0, n / 3)) for n in (width, height))
        x2, y2 = (int(shapes.between(n / 2, n)) for n in (width, height))
        padding = torch.ones(1, *canvas, dtype=torch.bool)
        padding[:, y1:y2, x1:x2] = False
        logits = shown(height // 4, width // 4, (0, 0, width // 4, height // 4), inside=0.5)
        assert box_around(logits, padding)[0].tolist() == pytest.approx(cxcywh(x1, y1, x2, y2, *canvas), abs=1e-5)


def test_anything_has_boxes_inside_the_canvas_and_the_batch_does_not_matter():
    torch.manual_seed(0)
    logits = torch.cat([torch.full((1, 1, 9, 14), v) for v in (-200.0, 0.0, 200.0)] + [torch.randn(20, 1, 9, 14) * 5])
    boxes = boxes_around(logits.requires_grad_())
    assert not boxes.requires_grad and boxes.shape == (23, 2, 4)
    low, high = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    assert (low >= -1e-6).all() and (high <= 1 + 1e-6).all() and (boxes[..., 2:] > 0).all()
    assert (low[:, 1] <= low[:, 0]).all() and (high[:, 1] >= high[:, 0]).all()  # the second contains the first
    for i in range(len(logits)):
        assert torch.equal(boxes_around(logits[i : i + 1])[0], boxes[i])
        assert torch.equal(box_around(logits[i : i + 1])[0], boxes[i, 0])


def test_half_precision_masks_give_float32_boxes():
    logits = shown(160, 160, (13, 27, 55, 140), inside=5.0, outside=-5.0)
    for dtype in (torch.float16, torch.bfloat16):
        boxes = boxes_around(logits.to(dtype))
        assert boxes.dtype == torch.float32 and torch.equal(boxes, boxes_around(logits))


def test_peak_is_one_cell_on_the_mask_and_not_on_padding():
    torch.manual_seed(0)
    values, padding = torch.rand(5, 40, 60), torch.zeros(5, 40, 60, dtype=torch.bool)
    padding[:, :, 20:] = True
    found = values.flatten(1).gather(1, peak(values, padding)[:, None])
    assert (found[:, 0] >= values[:, :, :20].amax((1, 2)) / 2).all()
    assert (peak(values, padding) % 60 < 20).all() and (peak(torch.zeros(5, 40, 60), ~padding) % 60 >= 20).all()

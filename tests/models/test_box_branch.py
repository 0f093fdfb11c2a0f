import pytest
import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps

from mmuniqrnet.models import BoxBranch, ScoreBranch
from mmuniqrnet.models.heads.box_branches import to_logits
from mmuniqrnet.models.heads.mask_and_box import boxes_around
from mmuniqrnet.registry import MODELS


def test_the_box_is_the_sigmoid_of_a_three_layer_mlp():
    torch.manual_seed(0)
    branch, reg = BoxBranch(8), torch.randn(3, 8)
    first, second, third = branch.mlp.layers
    hidden = (second(first(reg).clamp(min=0))).clamp(min=0)
    assert torch.allclose(branch(reg), 1 / (1 + torch.exp(-third(hidden))), atol=1e-6)
    assert first.out_features == second.out_features == 8


def test_boxes_have_float32_digits_under_autocast():
    branch = BoxBranch(8)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        boxes, scores = branch(torch.randn(2, 8)), ScoreBranch(8)(torch.randn(2, 8))
    assert boxes.dtype == scores.dtype == torch.float32


def test_one_score_per_sample():
    branch, reg = ScoreBranch(8), torch.randn(3, 8)
    scores = branch(reg)
    assert scores.shape == (3,) and torch.allclose(scores[1:2], branch(reg[1:2]), atol=1e-6)


def test_a_reference_is_where_the_mlp_starts_from():
    branch, reference = BoxBranch(8), torch.tensor([[0.3, 0.6, 0.2, 0.4]])
    last = branch.mlp.layers[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    assert torch.allclose(branch(torch.randn(1, 8), reference), reference, atol=1e-6)
    last.bias.data = torch.tensor([0.5, 0.0, -1.0, 0.0])
    odds = branch(torch.randn(1, 8), reference).logit() - reference.logit()
    assert torch.allclose(odds, last.bias.data, atol=1e-5)


# Two references ------------------------------------------------------------------------------------------------------

BLOB, ALL = torch.tensor([0.25, 0.5, 0.1, 0.4]), torch.tensor([0.5, 0.5, 0.6, 0.4])
TWO = torch.stack([BLOB, ALL])[None]


def silent(branch: BoxBranch) -> BoxBranch:
    """The same branch, its MLP silent."""
    for tensor in branch.mlp.layers[-1].parameters():
        torch.nn.init.zeros_(tensor)
    return branch


def test_without_references_the_weights_are_as_published():
    assert {name.split('.')[0] for name in BoxBranch(8).state_dict()} == {'mlp'}
    more = BoxBranch(8, sees_reference=True).state_dict()
    assert {name: value.shape for name, value in more.items() if name.startswith('mlp.')} == {
        name: value.shape for name, value in BoxBranch(8).state_dict().items()
    }
    with pytest.raises(ValueError, match='embed_dims must be a multiple of 4, not 10'):
        BoxBranch(10, sees_reference=True)


def test_the_start_is_the_box_of_the_surest_region_at_first():
    torch.manual_seed(0)
    boxes = silent(BoxBranch(16, sees_reference=True))(torch.randn(50, 16), TWO.expand(50, -1, -1))
    assert (boxes - BLOB).abs().max() < 0.05
    same = silent(BoxBranch(16, sees_reference=True))(torch.randn(50, 16), TWO[:, [1, 1]].expand(50, -1, -1))
    assert torch.allclose(same, ALL.expand(50, -1), atol=1e-5)


@pytest.mark.parametrize('start', [0, 1])
def test_the_box_depends_on_both_references(start):
    torch.manual_seed(0)
    branch, reg = BoxBranch(16, sees_reference=True), torch.randn(1, 16)
    other = TWO.clone()
    other[:, start] = torch.tensor([0.7, 0.3, 0.2, 0.1])
    seen, _ = branch.references(reg, TWO)
    assert (seen - branch.references(reg, other)[0]).abs().max() > 1e-2


@pytest.mark.parametrize('kind', ['BoxBranch', 'PointingBoxBranch'])
@pytest.mark.parametrize('size', [16, 160])
def test_it_learns_from_reg_which_reference_is_right(kind, size):
    """The same mask with two parts: for one [REG] the object is one of them, for the other it is both."""
    torch.manual_seed(0)
    logits = torch.full((1, 1, size, size), -8.0)
    logits[..., 3:12, 2:6] = logits[..., 3:12, 10:14] = 8.0  # 16 pixels of the canvas apart
    references = boxes_around(logits).expand(2, -1, -1)
    branch = silent(MODELS.build(dict(type=kind, embed_dims=16, sees_reference=True)))
    branch.mlp.requires_grad_(False)  # only the choice can help
    reg = torch.randn(2, 16)
    maps = [torch.randn(2, 16, 4, 4)]
    padding = torch.zeros(2, 64, 64, dtype=torch.bool)
    target = torch.stack([references[0, 0], references[1, 1]])
    optimizer = torch.optim.AdamW([p for p in branch.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        (branch(reg, references, maps, padding).logit() - target.logit()).abs().mean().backward()
        optimizer.step()
    found = branch(reg, references, maps, padding)
    overlaps = bbox_overlaps(bbox_cxcywh_to_xyxy(found), bbox_cxcywh_to_xyxy(target), is_aligned=True)
    assert (overlaps > 0.9).all()


def test_boxes_from_two_references_have_float32_digits_under_autocast():
    torch.manual_seed(0)
    branch, reg = BoxBranch(16, sees_reference=True), torch.randn(1, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        boxes = branch(reg, TWO)
    assert boxes.dtype == torch.float32 and torch.allclose(boxes, branch(reg, TWO), atol=2e-2)
    # What bfloat16 could not say: with a silent MLP and equal references the box is the reference.
    with torch.autocast('cpu', dtype=torch.bfloat16):
        boxes = silent(branch)(reg, TWO[:, [1, 1]])
    assert torch.allclose(boxes, ALL[None], atol=1e-6)


# Small and large references ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('canvas', [(640, 640), (480, 640), (64, 64)])
def test_a_box_of_eight_pixels_or_more_is_kept_wherever_it_is(canvas):
    torch.manual_seed(0)
    size = torch.tensor(canvas).flip(0)  # width, height
    n = 2000
    sides = 8 + (size - 8) * torch.rand(n, 2) ** 3
    corner = torch.stack([torch.zeros(n, 2), size - sides, (size - sides) * torch.rand(n, 2)])
    corner = corner.gather(0, torch.randint(3, (1, n, 2)))[0]  # at the low edge, the high edge, or anywhere
    boxes = torch.cat([(corner + sides / 2) / size, sides / size], dim=1)
    boxes = torch.cat([boxes, torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 1.0, 0.05], [0.99, 0.5, 0.02, 1.0]])])
    kept = to_logits(boxes).sigmoid()
    overlaps = bbox_overlaps(bbox_cxcywh_to_xyxy(kept), bbox_cxcywh_to_xyxy(boxes), is_aligned=True)
    assert overlaps.min() >= 0.95


def test_a_box_of_four_pixels_in_a_corner_of_640_is_kept():
    boxes = torch.tensor([[2.0, 2.0, 4.0, 4.0], [638.0, 2.0, 4.0, 4.0], [638.0, 638.0, 4.0, 4.0]]) / 640
    assert torch.allclose(to_logits(boxes).sigmoid(), boxes, atol=1e-6)


def test_any_reference_leaves_a_gradient():
    references = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1e-9, 1.0]])
    branch = silent(BoxBranch(8))
    branch(torch.randn(3, 8), references).sum().backward()
    gradient = branch.mlp.layers[-1].bias.grad
    assert gradient.isfinite().all() and (gradient > 0.005).all()


def test_a_start_at_the_whole_canvas_shrinks():
    """As from an untrained mask; with AdamW, a few hundred steps at the learning rate of training are enough."""
    torch.manual_seed(0)
    branch, reg = BoxBranch(32), torch.randn(1, 32)
    target = torch.tensor([[0.3, 0.6, 0.1, 0.2]])
    optimizer = torch.optim.AdamW(branch.parameters(), lr=1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        box = branch(reg, torch.tensor([[0.5, 0.5, 1.0, 1.0]]))
        (box - target).abs().sum().backward()
        optimizer.step()
    assert (box - target).abs().max() < 0.02

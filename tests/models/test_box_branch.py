import pytest
import torch

from mmuniqrnet.models import BoxBranch, ScoreBranch
from mmuniqrnet.models.heads.box_branch import box_around


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
    assert scores.shape == (3, ) and torch.allclose(scores[1:2], branch(reg[1:2]))


def test_a_reference_is_where_the_mlp_starts_from():
    branch, reference = BoxBranch(8), torch.tensor([[0.3, 0.6, 0.2, 0.4]])
    last = branch.mlp.layers[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    assert torch.allclose(branch(torch.randn(1, 8), reference), reference, atol=1e-6)
    last.bias.data = torch.tensor([0.5, 0., -1., 0.])
    odds = branch(torch.randn(1, 8), reference).logit() - reference.logit()
    assert torch.allclose(odds, last.bias.data, atol=1e-5)


@pytest.mark.parametrize('x1, y1, x2, y2', [(3, 2, 11, 9), (0, 0, 16, 12), (5, 7, 6, 8), (8, 0, 16, 6)])
def test_the_box_around_a_rectangle_is_the_rectangle(x1, y1, x2, y2):
    logits = torch.full((1, 1, 12, 16), -30.)
    logits[..., y1:y2, x1:x2] = 30.
    expected = [(x1 + x2) / 32, (y1 + y2) / 24, (x2 - x1) / 16, (y2 - y1) / 12]
    assert box_around(logits)[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_box_around_anything_is_a_box_and_smooth():
    logits = torch.stack([torch.full((1, 8, 8), -200.), torch.randn(1, 8, 8), torch.full((1, 8, 8), 200.)])
    logits.requires_grad_()
    boxes = box_around(logits)
    assert boxes.isfinite().all() and (boxes >= 0).all() and (boxes <= 1).all()
    boxes.sum().backward()
    assert logits.grad.isfinite().all() and logits.grad[1].any()

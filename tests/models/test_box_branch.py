import torch

from mmuniqrnet.models import BoxBranch, ScoreBranch


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
    assert scores.shape == (3,) and torch.allclose(scores[1:2], branch(reg[1:2]))


def test_a_reference_is_where_the_mlp_starts_from():
    branch, reference = BoxBranch(8), torch.tensor([[0.3, 0.6, 0.2, 0.4]])
    last = branch.mlp.layers[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    assert torch.allclose(branch(torch.randn(1, 8), reference), reference, atol=1e-6)
    last.bias.data = torch.tensor([0.5, 0.0, -1.0, 0.0])
    odds = branch(torch.randn(1, 8), reference).logit() - reference.logit()
    assert torch.allclose(odds, last.bias.data, atol=1e-5)

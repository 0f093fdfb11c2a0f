import pytest
import torch
from helpers.tiny_model import CANVAS, DIM, head_config, neck_maps, text_features, tiny_model

from mmuniqrnet.models import PointingBoxBranch

NO_PADDING = torch.zeros(1, 32, 48, dtype=torch.bool)


def pointing_at(y: int, x: int) -> tuple[PointingBoxBranch, torch.Tensor, torch.Tensor]:
    """A branch whose MLP says nothing, a [REG] and a map of stride 8 whose cell (y, x) alone fits it."""
    torch.manual_seed(0)
    branch = PointingBoxBranch(4)
    for layer in (branch.query, branch.key):
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    for tensor in branch.mlp.layers[-1].parameters():
        torch.nn.init.zeros_(tensor)
    reg = torch.tensor([[20.0, 0.0, 0.0, 0.0]])
    x_map = torch.zeros(1, 4, 4, 6)
    x_map[0, 0, y, x] = 10.0
    return branch, reg, x_map


def test_the_box_begins_where_reg_points():
    branch, reg, x = pointing_at(1, 4)
    # Cell (1, 4) of 4 x 6: its centre lies at 1.5 / 4 and 4.5 / 6.
    expected = torch.tensor([[4.5 / 6, 1.5 / 4, 0.2, 0.2]])
    assert torch.allclose(branch(reg, None, [x], NO_PADDING), expected, atol=1e-4)


def test_two_places_that_fit_are_met_in_the_middle():
    branch, reg, x = pointing_at(1, 4)
    x[0, 0, 3, 0] = 10.0
    expected = torch.tensor([[(4.5 + 0.5) / 12, (1.5 + 3.5) / 8, 0.2, 0.2]])
    assert torch.allclose(branch(reg, None, [x], NO_PADDING), expected, atol=1e-4)


def test_it_does_not_point_into_padding():
    branch, reg, x = pointing_at(1, 4)
    padding = NO_PADDING.clone()
    padding[:, :, 32:] = True  # the two right-hand columns, the fitting cell among them
    box = branch(reg, None, [x], padding)
    # The other 16 cells fit equally well.
    assert torch.allclose(box, torch.tensor([[2 / 6, 0.5, 0.2, 0.2]]), atol=1e-4)
    everywhere = branch(reg, None, [x], torch.ones_like(padding))
    assert everywhere.isfinite().all()


def test_a_reference_is_where_the_mlp_starts_from_and_what_is_pointed_at_counts():
    branch, reg, x = pointing_at(1, 4)
    reference = torch.tensor([[0.3, 0.6, 0.2, 0.4]])
    assert torch.allclose(branch(reg, reference, [x], NO_PADDING), reference, atol=1e-5)
    torch.nn.init.normal_(branch.mlp.layers[-1].weight)
    there = branch(reg, reference, [x], NO_PADDING)
    x[0, 1, 1, 4] = 5.0  # the same place fits, and looks otherwise
    assert (branch(reg, reference, [x], NO_PADDING) - there).abs().max() > 1e-3
    here = branch(reg, reference, [x], NO_PADDING)
    x[0, 1, 0, 0] = 5.0  # where it does not point
    assert torch.allclose(branch(reg, reference, [x], NO_PADDING), here, atol=1e-4)


def test_coarser_maps_are_seen_too_and_boxes_have_float32_digits_under_autocast():
    torch.manual_seed(0)
    branch, reg = PointingBoxBranch(8), torch.randn(3, 8)
    maps = [torch.randn(3, 8, 4, 6), torch.randn(3, 8, 2, 3)]
    padding = NO_PADDING.expand(3, -1, -1)
    boxes = branch(reg, None, maps, padding)
    assert not torch.allclose(boxes, branch(reg, None, [maps[0], -maps[1]], padding), atol=1e-4)
    assert torch.allclose(boxes[1:2], branch(reg[1:2], None, [m[1:2] for m in maps], padding[1:2]), atol=1e-6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert branch(reg, None, maps, padding).dtype == torch.float32


@pytest.mark.parametrize('from_mask, sees', [(False, False), (True, False), (True, True)])
def test_the_head_takes_it_alone_and_with_the_masks_start(from_mask, sees):
    branch = dict(type='PointingBoxBranch', embed_dims=DIM, sees_reference=sees)
    model = tiny_model(head=head_config(box_branch=branch, box_from_mask=from_mask))
    levels = neck_maps()
    padding = torch.zeros(2, CANVAS, CANVAS, dtype=torch.bool)
    out = model.head(levels, text_features(2), padding)
    out['boxes'].sum().backward()
    branch = model.head.box_branch
    assert out['boxes'].shape == (2, 4)
    assert branch.query.weight.grad.abs().sum() > 0 and branch.mlp.layers[0].weight.grad.abs().sum() > 0

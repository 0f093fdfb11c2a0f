"""Boxes from a choice of tokens, and masks that learn from boxes."""

import numpy as np
import pytest
import torch
from helpers.head_samples import BOTH, NO_BOX, NO_MASK, centred, head, targets, whole_losses
from helpers.tiny_model import DIM

from mmuniqrnet.models import DenseBoxBranch
from mmuniqrnet.models.heads.box_losses import dense_box_losses
from mmuniqrnet.models.heads.dense_boxes import SAME_BOX, chosen_box
from mmuniqrnet.utils.errors import UserError

PADDING = torch.zeros(1, 32, 48, dtype=torch.bool)
DENSE = dict(
    box_branch=dict(type='DenseBoxBranch', embed_dims=DIM),
    box_from_mask=False,
    loss_box_choice=1.0,
    loss_consistency=None,
)
EXTENT = dict(loss_mask_extent=dict(type='BoxMaskConsistencyLoss'))


def branch_and_map() -> tuple[DenseBoxBranch, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return DenseBoxBranch(8), torch.randn(1, 8), torch.randn(1, 8, 4, 6)


def test_what_is_seen_at_another_place_gives_the_same_box_there():
    branch, reg, x = branch_and_map()
    moved = x.roll((1, 2), dims=(2, 3))
    here, there = (branch(reg, None, [m], PADDING).candidates.view(4, 6, 4) for m in (x, moved))
    shift = torch.tensor([2 / 6, 1 / 4, 0, 0])
    assert torch.allclose(there[1:, 2:], here[:-1, :-2] + shift, atol=1e-6)
    assert not torch.allclose(here[0, 0], here[1, 1], atol=1e-3)


def test_a_token_s_sides_are_measured_from_its_centre():
    branch, reg, x = branch_and_map()
    for tensor in branch.sides.layers[-1].parameters():
        torch.nn.init.zeros_(tensor)
    branch.sides.layers[-1].bias.data = torch.tensor([0.1, 0.2, 0.3, 0.05]).logit() - torch.tensor(0.15).logit()
    candidates = branch(reg, None, [x], PADDING).candidates.view(4, 6, 4)
    cx, cy = 4.5 / 6, 1.5 / 4
    expected = torch.tensor([(cx - 0.1 + cx + 0.3) / 2, (cy - 0.2 + cy + 0.05) / 2, 0.4, 0.25])
    assert torch.allclose(candidates[1, 4], expected, atol=1e-6)


def test_the_answer_is_the_most_probable_box_averaged_with_those_like_it():
    rng = np.random.default_rng(0)
    first, like_it, other = [0.3, 0.3, 0.2, 0.2], [0.32, 0.3, 0.2, 0.22], [0.7, 0.7, 0.2, 0.2]
    candidates = torch.tensor([[other, first, like_it, rng.uniform(0.05, 0.1, 4).tolist()]])
    choice = torch.tensor([[1.9, 2.0, 1.0, -1.0]])
    assert SAME_BOX < 0.18 * 0.2 / (0.2 * 0.2 + 0.2 * 0.22 - 0.18 * 0.2)
    weight = np.exp([2.0, 1.0]) / np.exp([2.0, 1.0]).sum()
    expected = weight @ np.array([first, like_it])
    assert chosen_box(choice, candidates)[0].numpy() == pytest.approx(expected, abs=1e-6)


def test_padding_is_never_chosen_and_a_batch_is_what_its_samples_are():
    torch.manual_seed(1)
    branch, reg, x = DenseBoxBranch(8), torch.randn(3, 8), torch.randn(3, 8, 4, 6)
    padding = PADDING.repeat(3, 1, 1)
    padding[1, :, 16:] = True
    whole = branch(reg, None, [x], padding)
    assert whole.choice.view(3, 4, 6)[1, :, 2:].max() < whole.choice.view(3, 4, 6)[1, :, :2].min() - 1e3
    for i in range(3):
        one = branch(reg[i : i + 1], None, [x[i : i + 1]], padding[i : i + 1])
        assert torch.allclose(one.boxes, whole.boxes[i : i + 1], atol=1e-6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = branch(reg, None, [x], padding)
    assert half.boxes.dtype == half.choice.dtype == torch.float32
    assert half.choice[0].unique().numel() == 24  # in bfloat16, some would be equal
    wide = branch.double()(reg.double(), None, [x.double()], padding)
    assert wide.choice.dtype == torch.float64
    branch.float()
    assert branch(reg, None, [x], torch.ones_like(padding)).boxes.isfinite().all()


def test_tokens_near_the_centre_of_the_true_box_count():
    branch, reg, x = branch_and_map()
    fit = branch(reg, None, [x], PADDING).targets(torch.tensor([[0.5, 0.5, 0.6, 0.5]])).view(4, 6)
    assert fit.sum().item() == pytest.approx(1)
    ys, xs = (np.arange(4) + 0.5) / 4, (np.arange(6) + 0.5) / 6
    # A sixth of the sides, at least half a cell: 0.1 and 0.125.
    density = np.exp(-(((xs - 0.5) / 0.1) ** 2)[None] / 2 - (((ys - 0.5) / 0.125) ** 2)[:, None] / 2)
    density[:, (abs(xs - 0.5) > 0.3)] = 0
    density[abs(ys - 0.5) > 0.25] = 0
    assert fit.numpy() == pytest.approx(density / density.sum(), abs=1e-5)


@pytest.mark.parametrize('x, column', [(0.34, 3), (0.45, 3), (0.7, 4)])
def test_a_small_box_and_one_before_the_first_token_of_the_image_have_a_token(x, column):
    branch, reg, x_map = branch_and_map()
    padding = PADDING.clone()
    padding[:, :, :20] = True  # ends within the third column, whose token counts as padding
    fit = branch(reg, None, [x_map], padding).targets(torch.tensor([[x, 0.4, 0.02, 0.02]])).view(4, 6)
    assert fit.sum().item() == pytest.approx(1)
    assert fit[:, :3].max() < 1e-6 and fit[1, column] > 0.7


def test_the_loss_of_a_choice_that_is_right_is_zero():
    branch, reg, x = branch_and_map()
    truth = targets(boxes=torch.tensor([[0.5, 0.5, 0.6, 0.5]]), batch=1, inside=torch.ones(1, 1, 16, 16))
    answer = branch(reg, None, [x], PADDING)
    fit = answer.targets(truth.boxes)
    for choice, near in ((fit.clamp(min=1e-30).log(), True), (answer.choice, False)):
        losses = dense_box_losses(answer._replace(choice=choice), truth, None, None, 1.0)
        assert list(losses) == ['loss_box_choice']
        assert (losses['loss_box_choice'].item() < 1e-5) == near


def test_a_very_small_box_that_is_chosen_is_the_answer():
    tiny = [0.5, 0.5, 5e-4, 5e-4]
    candidates = torch.tensor([[[0.2, 0.2, 0.3, 0.3], tiny, [0.8, 0.8, 0.3, 0.3]]])
    assert torch.allclose(chosen_box(torch.tensor([[0.0, 1.0, 0.5]]), candidates), torch.tensor([tiny]))


@pytest.mark.parametrize('losses', [(True, True), (True, False), (False, False)])
def test_what_no_loss_trains_is_frozen(losses):
    chosen = {name: None for name, on in zip(('loss_box_l1', 'loss_box_giou'), losses) if not on}
    model, found = whole_losses([BOTH], centred(**DENSE, **chosen))
    sum(found.values()).backward()
    trained = [p for p in model.head.box_branch.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    assert len(trained) == (4 if losses == (False, False) else 10)


def test_losses_train_every_parameter():
    model, losses = whole_losses([BOTH, NO_MASK, NO_BOX], centred(**DENSE, **EXTENT))
    assert {'loss_box_choice', 'loss_box_l1', 'loss_box_giou', 'loss_mask_extent'} <= losses.keys()
    assert all(x.dim() == 0 and x.isfinite() for x in losses.values())
    sum(losses.values()).backward()
    untouched = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not [name for name in untouched if name.startswith('head.')]


def test_without_a_true_box_nothing_is_learned_from_the_choice():
    _, losses = whole_losses([NO_BOX], centred(**DENSE))
    assert losses['loss_box_choice'] == losses['loss_box_l1'] == losses['loss_box_giou'] == 0


def test_masks_learn_from_the_boxes_of_items_without_a_mask_only():
    _, with_mask = whole_losses([BOTH], centred(**EXTENT))
    _, without = whole_losses([NO_MASK], centred(**EXTENT))
    assert with_mask['loss_mask_extent'] == 0
    assert without['loss_mask_extent'] > 0


@pytest.mark.parametrize(
    'options, words',
    [
        (DENSE | dict(box_from_mask=True), 'box_from_mask=False'),
        (DENSE | dict(loss_box_choice=None), 'loss_box_choice'),
        (dict(loss_box_choice=1.0), 'loss_box_choice'),
        (DENSE | dict(loss_box_choice=0.0), 'greater than 0'),
        (dict(mask_branch=None, box_from_mask=False, **EXTENT), 'loss_mask_extent needs a mask_branch'),
    ],
)
def test_what_does_not_fit_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        head(**options)

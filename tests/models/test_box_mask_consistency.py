"""The loss of box and mask against each other: where it is zero, where it pulls, and what has no say."""

import numpy as np
import pytest
import torch
from helpers.head_samples import BOTH, NO_BOX, NO_MASK, centred, whole_losses
from helpers.tiny_model import batch_of, head_config, item, tiny_model

from mmuniqrnet.models.losses import BoxMaskConsistencyLoss

NONE = item(seed=4, text='purple heart', boxes=[], masks=np.zeros((0, 48, 64)))


def cxcywh(x1, y1, x2, y2, width=32, height=16):
    box = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    return torch.tensor([box], requires_grad=True)


def mask_logits(x1, y1, x2, y2, width=32, height=16, sure=30.0):
    logits = torch.full((1, 1, height, width), -sure)
    logits[..., y1:y2, x1:x2] = sure
    return logits.requires_grad_()


def consistency(box, logits, inside=None, weight=None, count=1.0):
    inside = torch.ones_like(logits) if inside is None else inside
    weight = torch.ones(len(box)) if weight is None else weight
    return BoxMaskConsistencyLoss()(box, logits, inside, weight, torch.tensor(count))


def test_zero_where_they_agree_and_one_where_they_are_apart():
    assert consistency(cxcywh(5, 3, 20, 9), mask_logits(5, 3, 20, 9)).item() == pytest.approx(0, abs=1e-6)
    # a shape that fills no corner of its box
    ring = mask_logits(5, 3, 20, 9).detach()
    ring[..., 3, 5:8] = ring[..., 8, 15:20] = -30
    assert consistency(cxcywh(5, 3, 20, 9), ring).item() == pytest.approx(0, abs=1e-6)
    assert consistency(cxcywh(1, 1, 4, 3), mask_logits(20, 10, 30, 14)).item() == pytest.approx(1, abs=1e-6)


def test_by_hand():
    """Columns 5 to 10 and rows 3 to 9 against a box over columns 5 to 12.5 and the same rows."""
    loss = consistency(cxcywh(5, 3, 12.5, 9), mask_logits(5, 3, 10, 9))
    dice_x = 2 * 5 / (5 + 7 + 0.25)
    assert loss.item() == pytest.approx((1 - dice_x) / 2, rel=1e-5)


@pytest.mark.parametrize('box', [(2.4, 1.3, 15.5, 6.6), (8.3, 4.4, 27.7, 12.2), (7.2, 4.1, 15.6, 7.5), (1, 1, 30, 15)])
def test_the_box_is_drawn_to_the_mask(box):
    """Whether it is shifted, too large or too small."""
    moving, logits = cxcywh(*box).detach().requires_grad_(), mask_logits(5, 3, 20, 9).detach()
    optimizer = torch.optim.Adam([moving], lr=0.003)
    for _ in range(300):
        optimizer.zero_grad()
        consistency(moving, logits).backward()
        optimizer.step()
    assert torch.allclose(moving, cxcywh(5, 3, 20, 9), atol=0.5 / 32)


def written_out(box, logits, inside):
    """The loss of one item in NumPy and float64: box (cx, cy, w, h, 0..1), logits and inside [h, w]."""
    height, width = logits.shape
    probs = inside / (1 + np.exp(-logits))
    cx, cy, w, h = box
    losses = []
    for axis, first, last, n in ((0, cx - w / 2, cx + w / 2, width), (1, cy - h / 2, cy + h / 2, height)):
        mask = probs.max(axis)
        share = [max(0.0, min(last * n, i + 1) - max(first * n, i)) for i in range(n)]
        share = np.array(share) * inside.max(axis)
        losses.append(1 - 2 * (mask * share).sum() / ((mask**2).sum() + (share**2).sum()))
    return np.mean(losses)


def numeric_gradient(function, at, step=1e-5):
    """By central differences, one number after the other."""
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


@pytest.mark.parametrize('edges', [(10.3, 3.2, 25.6, 8.9), (2.4, 1.3, 15.5, 6.6), (8.3, 4.4, 31.7, 15.2)])
def test_value_and_gradients_are_those_of_the_written_out_dice(edges):
    """In box and mask, for logits at random, an object in them, and a column that is partly padding."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 1, (16, 32))
    logits[3:9, 5:20] += 2
    inside = np.ones((16, 32))
    inside[:, 29], inside[:, 30:] = 0.25, 0
    box = cxcywh(*edges).detach().double().requires_grad_()
    given = torch.tensor(logits[None, None], requires_grad=True)
    loss = consistency(box, given, torch.tensor(inside[None, None]), torch.ones(1).double())
    loss.backward()
    corners = box.detach().numpy()[0]
    assert loss.item() == pytest.approx(written_out(corners, logits, inside), abs=1e-9)
    of_mask = numeric_gradient(lambda at: written_out(corners, at, inside), logits)
    of_box = numeric_gradient(lambda at: written_out(at, logits, inside), corners)
    assert np.count_nonzero(of_mask) > 30 and (np.abs(of_box) > 1e-3).all()
    np.testing.assert_allclose(given.grad[0, 0].numpy(), of_mask, atol=1e-7)
    np.testing.assert_allclose(box.grad[0].numpy(), of_box, atol=1e-6)


def test_the_mask_is_drawn_to_the_box():
    """Descending fills the box's columns that the mask leaves empty, and empties those outside the box."""
    logits = mask_logits(5, 3, 20, 9, sure=1.0).detach().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        consistency(cxcywh(10, 3, 25, 9), logits).backward()
        optimizer.step()
    probs = logits.detach().sigmoid()[0, 0]
    columns, rows = probs.amax(0), probs.amax(1)
    assert (columns[10:25] > 0.9).all() and columns[:10].max() < 0.1 and columns[25:].max() < 0.1
    assert (rows[3:9] > 0.9).all() and rows[:3].max() < 0.1 and rows[9:].max() < 0.1


def test_padding_has_no_say():
    inside = torch.ones(1, 1, 16, 32)
    inside[..., 20:] = 0
    logits = mask_logits(5, 3, 32, 9)  # says object on padding, too
    loss = consistency(cxcywh(5, 3, 28, 9), logits, inside)  # and the box reaches over it
    assert loss.item() == pytest.approx(0, abs=1e-6)
    logits = mask_logits(5, 3, 32, 9, sure=1.0)
    (gradient,) = torch.autograd.grad(consistency(cxcywh(9, 3, 28, 9), logits, inside), logits)
    assert not gradient[inside == 0].any() and gradient.any()


def test_weights_and_average():
    box = torch.cat([cxcywh(5, 3, 12.5, 9), cxcywh(1, 1, 4, 3), cxcywh(1, 1, 4, 3)])
    logits = torch.cat([mask_logits(5, 3, 10, 9), mask_logits(20, 10, 30, 14), mask_logits(1, 1, 4, 3)])
    loss = consistency(box, logits, weight=torch.tensor([1.0, 0.0, 1.0]), count=2.0)
    first = consistency(box[:1], logits[:1])
    assert loss.item() == pytest.approx(first.item() / 2, rel=1e-5)


# In the head ---------------------------------------------------------------------------------------------------------

ON = dict(loss_consistency=dict(type='BoxMaskConsistencyLoss', loss_weight=0.5))


def test_it_is_off_unless_asked_for_and_changes_no_other_loss():
    _, plain = whole_losses([BOTH, NO_BOX], centred())
    _, losses = whole_losses([BOTH, NO_BOX], centred(**ON))
    assert losses.keys() - plain.keys() == {'loss_consistency'}
    assert all(torch.equal(losses[name], value) for name, value in plain.items())


@pytest.mark.parametrize('given', [NO_BOX, NO_MASK, BOTH])
def test_gradient_reaches_both_branches_whatever_the_truth_consists_of(given):
    model, losses = whole_losses([given], centred(**ON))
    losses['loss_consistency'].backward()
    for branch in (model.head.box_branch, model.head.mask_branch):
        assert all(p.grad is not None and p.grad.any() for p in branch.parameters())


def test_an_item_that_means_nothing_is_left_out():
    model = centred(**ON)
    _, alone = whole_losses([BOTH], model)
    _, both = whole_losses([BOTH, NONE], model)
    assert both['loss_consistency'].item() == pytest.approx(alone['loss_consistency'].item(), rel=1e-4)
    _, none = whole_losses([NONE], model)
    assert none['loss_consistency'] == 0 and none['loss_consistency'].requires_grad


@pytest.mark.parametrize('missing', ['box_branch', 'mask_branch'])
def test_it_needs_both_branches(missing):
    with pytest.raises(ValueError, match='loss_consistency needs a box_branch and a mask_branch'):
        tiny_model(head=head_config(**ON, **{missing: None}))


# Items that mean nothing ---------------------------------------------------------------------------------------------


def test_an_item_that_means_nothing_teaches_an_empty_mask_and_a_low_score():
    """Only that: no box, no Dice."""
    model, losses = whole_losses([NONE], centred())
    assert {name for name, value in losses.items() if value == 0} == {'loss_box_l1', 'loss_box_giou', 'loss_mask_dice'}
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    data = model.data_preprocessor(batch_of([NONE]), training=True)
    out = model(data['inputs'], data['data_samples'], mode='tensor')
    inside = torch.nn.functional.interpolate(out['mask_logits'], (64, 64), mode='bilinear')[0, 0, 8:56]  # centred
    expected = torch.nn.functional.softplus(inside).mean()  # cross-entropy against "no object" on every pixel
    assert losses['loss_mask_bce'].item() == pytest.approx(expected.item(), rel=1e-5)
    low = torch.nn.functional.softplus(out['score_logits']).item()
    assert losses['loss_score'].item() == pytest.approx(low, rel=1e-5)

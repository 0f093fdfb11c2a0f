"""mmdet's and mmseg's losses in the head's places, against the same written out in numpy."""

import numpy as np
import pytest
import torch
from helpers.head_samples import head, predictions, targets

from mmuniqrnet.registry import MODELS

pytestmark = pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``')


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def pixels_of(logits, truth):
    """Logits, truth and weight as float64 arrays [B, P]."""
    weight = truth.inside * truth.has_mask[:, None, None, None]
    return (x.detach().flatten(1).double().numpy() for x in (logits, truth.masks, weight))


def cross_entropy(x, y):
    p = sigmoid(x)
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


def focal(x, y, alpha=0.25, gamma=2.0):
    p = sigmoid(x)
    hit, share = p * y + (1 - p) * (1 - y), alpha * y + (1 - alpha) * (1 - y)
    return share * (1 - hit) ** gamma * -np.log(hit)


PIXEL_LOSSES = {
    'mmdet.CrossEntropyLoss': (dict(use_sigmoid=True), cross_entropy),
    'mmdet.FocalLoss': (dict(), focal),
    'mmseg.CrossEntropyLoss': (dict(use_sigmoid=True), cross_entropy),
}


@pytest.mark.parametrize('slot', ['loss_mask_bce', 'loss_aux'])
@pytest.mark.parametrize('name', PIXEL_LOSSES)
def test_pixel_losses_are_means_over_the_images_pixels(name, slot):
    options, formula = PIXEL_LOSSES[name]
    model = head(**{slot: dict(type=name, loss_weight=0.5, **options)})
    truth, (_, logits) = targets(has_mask=[1.0, 0.0, 1.0]), predictions()
    loss = model.pixel_loss(getattr(model, slot), logits, truth)
    x, y, weight = pixels_of(logits, truth)
    assert loss.item() == pytest.approx(0.5 * (formula(x, y) * weight).sum() / weight.sum(), rel=1e-5)


def dice(p, y):
    return 1 - 2 * (p * y).sum() / ((p**2).sum() + (y**2).sum() + 2e-3)


def naive_dice(p, y):
    return 1 - (2 * (p * y).sum() + 1e-3) / (p.sum() + y.sum() + 1e-3)


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
@pytest.mark.parametrize('naive', [False, True])
def test_dice_of_the_image_without_padding(scope, naive):
    model = head(loss_mask_dice=dict(type=f'{scope}.DiceLoss', naive_dice=naive, loss_weight=2.0))
    truth, (_, logits) = targets(has_mask=[1.0, 0.0, 1.0]), predictions()
    loss = model.mask_losses(logits, truth)['loss_mask_dice']
    x, y, weight = pixels_of(logits, truth)
    formula = naive_dice if naive else dice
    known = [formula(sigmoid(x[i][weight[i] > 0]), y[i][weight[i] > 0]) for i in (0, 2)]
    assert loss.item() == pytest.approx(2 * np.mean(known), rel=1e-4)


def lovasz(x, y):
    """The Lovász extension of the Jaccard loss at the hinge errors, by its definition: errors in falling order, each
    weighted by how much more of the Jaccard loss its pixel, made wrong, adds to those before it."""
    errors = 1 - x * (2 * y - 1)
    wrong, before, total = np.zeros(len(y), bool), 0.0, 0.0
    for i in np.argsort(-errors):
        wrong[i] = True
        guess = np.where(wrong, 1 - y, y)
        jaccard = 1 - (guess * y).sum() / np.maximum(guess, y).sum()
        total += max(errors[i], 0) * (jaccard - before)
        before = jaccard
    return total


def test_lovasz_of_each_mask_without_padding():
    model = head(loss_mask_dice=dict(type='LovaszMaskLoss', loss_weight=0.5))
    truth, (_, logits) = targets(has_mask=[1.0, 0.0, 1.0]), predictions()
    loss = model.mask_losses(logits, truth)['loss_mask_dice']
    x, y, weight = pixels_of(logits, truth)
    known = [lovasz(x[i][weight[i] > 0], y[i][weight[i] > 0]) for i in (0, 2)]
    assert loss.item() == pytest.approx(0.5 * np.mean(known), rel=1e-4)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[truth.inside == 0].any() and not gradient[1].any() and gradient[0].any() and gradient[2].any()


def test_lovasz_of_no_mask_is_zero_and_stays_in_the_graph():
    model = head(loss_mask_dice=dict(type='LovaszMaskLoss'))
    _, logits = predictions()
    loss = model.mask_losses(logits, targets(has_mask=[0.0, 0.0, 0.0]))['loss_mask_dice']
    assert loss == 0 and loss.requires_grad


@pytest.mark.parametrize(
    'slot, loss, says',
    [
        ('loss_mask_bce', dict(type='mmdet.CrossEntropyLoss'), 'fails'),  # a softmax over the pixels
        ('loss_mask_bce', dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='none'), 'fails'),
        ('loss_mask_bce', dict(type='mmseg.FocalLoss'), 'leaves out a sample that has a truth'),
        ('loss_mask_bce', dict(type='mmdet.DiceLoss'), 'fails'),
        ('loss_aux', dict(type='mmdet.GHMC'), 'not averaged by the avg_factor'),
        ('loss_aux', dict(type='mmseg.OhemCrossEntropy'), 'unexpected keyword argument'),
        ('loss_mask_dice', dict(type='mmseg.LovaszLoss', loss_type='binary', per_image=True), 'weight 0'),
        ('loss_mask_dice', dict(type='mmseg.DiceLoss', use_sigmoid=False), 'weight 0, or padding'),
        ('loss_mask_dice', dict(type='mmseg.TverskyLoss'), 'fails'),
        ('loss_mask_dice', dict(type='mmdet.FocalLoss'), 'fails'),
    ],
)
def test_losses_that_would_count_wrongly_are_refused(slot, loss, says):
    with pytest.raises(ValueError, match=f'{slot} cannot be {loss["type"].split(".")[1]} .*{says}.*take another'):
        head(**{slot: loss})


@pytest.mark.parametrize(
    'mode',
    [
        pytest.param(torch.no_grad(), id='no_grad'),
        pytest.param(torch.inference_mode(), id='inference_mode'),
        pytest.param(torch.device('meta'), id='meta'),
    ],
)
def test_a_head_can_be_built_where_nothing_is_trained(mode):
    with mode:
        assert head().loss_mask_dice is not None


def test_what_mmsegs_focal_loss_does_wrong():
    """Why it is refused, told by itself: the first object pixel being number 255 switches a sample off."""
    loss = MODELS.build(dict(type='mmseg.FocalLoss'))
    truth = torch.zeros(2, 300)
    truth[0, 255:], truth[1, 254:] = 1, 1
    logits = torch.zeros(2, 300, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(logits, truth, torch.ones(2, 300), avg_factor=600), logits)
    assert not gradient[0].any() and gradient[1].all()

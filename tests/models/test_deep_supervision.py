"""Mask losses after every encoder layer: in training only, and of no effect on what is predicted."""

import pytest
import torch
from helpers.head_samples import BOTH, NO_BOX, NO_MASK, centred, head, targets, whole_losses
from helpers.tiny_model import DIM, encoder_config, head_config, neck_maps, text_features
from torch import nn

from mmuniqrnet.engine import LossBalanceHook
from mmuniqrnet.registry import MODELS

FOUR = encoder_config(num_layers=4)
DEEP = {f'd{i}.loss_mask_{kind}' for i in range(3) for kind in ('bce', 'dice')}


def test_names_of_losses():
    _, plain = whole_losses([BOTH], centred(encoder=FOUR))
    _, losses = whole_losses([BOTH], centred(encoder=FOUR, deep_supervision=True))
    assert losses.keys() == plain.keys() | DEEP
    assert all(x.dim() == 0 and x.isfinite() and x > 0 for x in losses.values())
    assert all(torch.equal(losses[name], value) for name, value in plain.items())


def test_a_task_s_prefix_fits_the_losses_of_all_layers_and_may_fit_none():
    tasks = dict(box='loss_box', mask=('loss_mask', 'd?.loss_mask'), aux='loss_aux')
    for deep in (False, True):
        _, losses = whole_losses([BOTH], centred(encoder=FOUR, deep_supervision=deep))
        hook = LossBalanceHook(tasks=tasks)
        hook._assign(losses)
        assert {name for name in losses if hook._find_task(name) is None} == {'loss_score'}
        assert {name for name in losses if hook._find_task(name) == 'mask'} == {
            'loss_mask_bce',
            'loss_mask_dice',
            *(DEEP if deep else ()),
        }


def test_losses_of_earlier_layers_by_hand():
    """Each is the loss of its layer's coarse logits against the share of the object in each cell, weighted."""
    model = head(encoder=FOUR, deep_supervision=True, deep_loss_weight=0.25).train()
    levels, text = neck_maps(), text_features()
    padding = torch.zeros(2, 64, 64, dtype=torch.bool)
    out = model(levels, text, padding)
    branch = model.mask_branch
    layers = model.encoder.forward_layers(levels, text, padding)
    for i, layer in enumerate(layers[:-1]):
        x = branch.input_proj(layer.maps[0] + nn.functional.interpolate(layer.maps[1], scale_factor=2, mode='bilinear'))
        x = nn.functional.interpolate(x, size=(8, 8), mode='bilinear')
        x = branch.convs[0](x + branch.lateral_convs[0](levels[1]))
        numbers = branch.classifier(layer.reg)
        logits = torch.einsum('bc,bchw->bhw', numbers[:, :-1], x) / DIM**0.5 + numbers[:, -1, None, None]
        assert torch.allclose(out[f'd{i}.mask_logits'][:, 0], logits, atol=1e-5)
    truth = targets(batch=2, size=64)
    losses = model.mask_losses_of(out['d1.mask_logits'], truth)
    shares = truth.masks.unflatten(2, (8, 8)).unflatten(4, (8, 8)).mean((3, 5))
    inside = truth.inside.unflatten(2, (8, 8)).unflatten(4, (8, 8)).mean((3, 5))
    bce = nn.functional.binary_cross_entropy_with_logits(out['d1.mask_logits'], shares, weight=inside, reduction='sum')
    assert losses['loss_mask_bce'].item() == pytest.approx((bce / inside.sum()).item(), rel=1e-5)


@pytest.mark.parametrize('weight', [0.25, 2.0])
def test_the_weight_is_that_of_each_earlier_layer(weight):
    model = centred(encoder=FOUR, deep_supervision=True)
    _, once = whole_losses([BOTH, NO_MASK], model)
    model.head.deep_loss_weight = weight
    _, losses = whole_losses([BOTH, NO_MASK], model)
    for name, value in losses.items():
        factor = weight if name in DEEP else 1
        assert value.item() == pytest.approx(factor * once[name].item(), rel=1e-5)


def test_every_layer_is_trained_by_its_own_losses():
    model, losses = whole_losses([BOTH], centred(encoder=FOUR, deep_supervision=True))
    sum(value for name, value in losses.items() if name.startswith('d1.')).backward()
    reached = [
        any(p.grad is not None and p.grad.any() for p in layer.parameters()) for layer in model.head.encoder.layers
    ]
    assert reached == [True, True, False, False]


def test_every_parameter_is_trained():
    model, losses = whole_losses([BOTH, NO_BOX, NO_MASK], deep_supervision=True)
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_an_item_without_a_mask_does_not_count():
    model = centred(encoder=FOUR, deep_supervision=True)
    _, alone = whole_losses([BOTH], model)
    _, together = whole_losses([BOTH, NO_MASK], model)
    assert all(alone[name].item() == pytest.approx(together[name].item(), rel=1e-4) for name in DEEP)
    model, losses = whole_losses([NO_MASK], model)
    assert all(losses[name] == 0 and losses[name].requires_grad for name in DEEP)


@pytest.mark.parametrize('norm_first', [False, True])
@pytest.mark.parametrize('margin', [None, 0.1])
def test_what_is_predicted_is_the_same_bit_by_bit(norm_first, margin):
    changes = dict(encoder=FOUR | dict(norm_first=norm_first), test_cfg=dict(mask_margin=margin), box_from_mask=True)
    plain, deep = head(**changes), head(**changes, deep_supervision=True)
    assert plain.state_dict().keys() == deep.state_dict().keys()
    deep.load_state_dict(plain.state_dict())

    def refuse(*args):
        raise AssertionError('computed at test time')

    deep.encoder.forward_layers = deep.mask_branch.forward_layers = refuse
    inputs = neck_maps(), text_features(), torch.zeros(2, 64, 64, dtype=torch.bool)
    ours, theirs = deep(*inputs), plain(*inputs)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_at_full_size_the_earlier_layers_cost_little():
    """Canvas 640, strides 16, 8 and 4 in the mask branch: earlier masks have 40 x 40 cells, the last 160 x 160."""
    config = head_config(encoder=FOUR | dict(levels=(3, 4)), deep_supervision=True, mask_loss_stride=4)
    config['mask_branch'].update(levels=(2, 1, 0))
    model = MODELS.build(config).train()
    padding = torch.zeros(1, 640, 640, dtype=torch.bool)
    out = model(neck_maps(batch=1, canvas=640), text_features(batch=1), padding)
    shapes = {name: tuple(x.shape) for name, x in out.items() if 'mask' in name}
    assert shapes == {'mask_logits': (1, 1, 160, 160)} | {f'd{i}.mask_logits': (1, 1, 40, 40) for i in range(3)}
    truth = targets(batch=1, size=640, inside=torch.ones(1, 1, 640, 640))
    assert all(x.isfinite() and x > 0 for x in model.mask_losses_of(out['d0.mask_logits'], truth).values())


class OtherEncoder(nn.Identity):
    """An encoder without outputs of its layers."""


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(encoder=OtherEncoder()), 'forward_layers.. of the encoder, which OtherEncoder does not have'),
        (dict(mask_branch=nn.Identity()), 'forward_layers.. of the mask_branch, which Identity does not have'),
        (dict(encoder=encoder_config(num_layers=1)), 'the encoder has one layer; set encoder.num_layers to 2 or more'),
        (dict(mask_branch=None), 'deep_supervision needs a mask_branch and loss_mask_bce or loss_mask_dice'),
        (dict(loss_mask_bce=None, loss_mask_dice=None), 'needs a mask_branch and loss_mask_bce or loss_mask_dice'),
        (dict(deep_loss_weight=0), 'deep_loss_weight must be greater than 0, not 0.*deep_supervision=False'),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        head(deep_supervision=True, **changes)

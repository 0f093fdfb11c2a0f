import pytest
import torch
from helpers.tiny_model import (
    CHANNELS,
    DIM,
    TEXT_DIM,
    backbone_config,
    batch_of,
    encoder_config,
    head_config,
    item,
    neck_config,
    neck_maps,
    open_gates,
    rectangle,
    tiny_model,
)

from mmuniqrnet.models import PixelGuidance
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def guidance(**changes):
    torch.manual_seed(0)
    return PixelGuidance(
        **(dict(backbone_channels=CHANNELS, neck_channels=DIM, text_dim=TEXT_DIM, embed_dims=8) | changes)
    )


def backbone():
    torch.manual_seed(0)
    return open_gates(MODELS.build(backbone_config()))


@pytest.mark.parametrize('stages, levels', [((0, 1, 2, 3), (0, 1, 2)), ((), (1,)), ((2,), ()), ((), ())])
def test_the_switches_choose_the_maps(stages, levels):
    model = guidance(backbone_stages=stages, neck_levels=levels)
    logits = model(backbone()(IMAGES), neck_maps(), torch.randn(2, TEXT_DIM))
    strides = {f'backbone{i}': 4 * 2**i for i in stages} | {f'neck{i}': 4 * 2**i for i in levels}
    assert {name: x.shape for name, x in logits.items()} == {n: (2, 1, 64 // s, 64 // s) for n, s in strides.items()}


def test_logits_are_a_scaled_cosine():
    model, maps, sentence = guidance(), backbone()(IMAGES), torch.randn(2, TEXT_DIM)
    alignment = model.alignments['backbone1']
    with torch.no_grad():
        alignment.scale.fill_(3)
        alignment.bias.fill_(0.5)
    logits = model(maps, neck_maps(), sentence)['backbone1']
    weight = alignment.pixel.weight[:, :, 0, 0]
    for b, y, x in ((0, 0, 0), (1, 3, 5)):
        pixel = weight @ maps[1][b, :, y, x] + alignment.pixel.bias
        text = alignment.sentence(sentence[b])
        cosine = (pixel @ text) / (pixel.norm() * text.norm())
        assert torch.allclose(logits[b, 0, y, x], 3 * cosine + 0.5, atol=1e-5)


@pytest.mark.parametrize('stage', [0, 1, 2, 3])
def test_one_stage_alone_is_reached_without_the_later_ones(stage):
    """The claim of the paper: pixel supervision guides intermediate layers directly."""
    model, body = guidance(), backbone()
    sentence = torch.randn(2, TEXT_DIM, requires_grad=True)
    logits = model(body(IMAGES, sentence), neck_maps(), sentence.detach())
    torch.nn.functional.binary_cross_entropy_with_logits(
        logits[f'backbone{stage}'], torch.rand_like(logits[f'backbone{stage}'])
    ).backward()
    for i in range(4):
        parameters = [*body.stages[i].blocks.parameters(), *body.gates[i].parameters()]
        assert all((p.grad is not None and p.grad.any().item()) == (i <= stage) for p in parameters)
    assert sentence.grad.any()  # through the gates, not through the comparison


def test_the_sentence_matters():
    model, maps = guidance(), backbone()(IMAGES)
    sentences = torch.randn(2, 2, TEXT_DIM)
    one, other = (model(maps, neck_maps(), s) for s in sentences)
    assert all(not torch.allclose(one[name], other[name], atol=1e-3) for name in one)


# Gates as masks ------------------------------------------------------------------------------------------------------

BOX, MASK = [8.0, 4.0, 40.0, 36.0], rectangle(48, 64, 8, 4, 40, 36)
ITEMS = [item(48, 64, text=text, boxes=[BOX], masks=[MASK], seed=i) for i, text in enumerate(('ring', 'red circle'))]


def whole(guide_gates, **changes):
    head = head_config()
    head['pixel_guidance'] = head['pixel_guidance'] | dict(guide_gates=guide_gates)
    torch.manual_seed(0)
    return tiny_model(head=head, **changes).train()


def losses_of(model, items=ITEMS):
    data = model.data_preprocessor(batch_of(items), True)
    return model(**data, mode='loss')


GATES = {*(f'loss_aux_gate_backbone{i}' for i in range(4)), 'loss_aux_gate_neck0', 'loss_aux_gate_neck1'}


def test_each_gate_of_a_guided_map_has_a_loss_and_the_other_losses_stay():
    with_gates, without = losses_of(whole(True)), losses_of(whole(False))
    assert with_gates.keys() - without.keys() == GATES
    assert all(torch.allclose(with_gates[name], value) for name, value in without.items())


@pytest.mark.parametrize('canvas', [64, 640])
def test_the_loss_is_the_cross_entropy_of_what_the_gate_multiplies_by(canvas):
    model = whole(True, data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=canvas, placement='center'))
    with torch.no_grad():
        model.head.pixel_guidance.gate_bias.zero_()
    seen = {}
    model.backbone.gates[1].spatial.register_forward_hook(lambda module, args, gate: seen.update(gate=gate))
    loss = losses_of(model)['loss_aux_gate_backbone1']
    side = canvas // 8
    gate = seen['gate'][..., 0].unflatten(1, (side, side))
    top, left = (canvas - 48) // 2, (canvas - 64) // 2
    truth, inside = torch.zeros(canvas, canvas), torch.zeros(canvas, canvas)
    truth[top + 4 : top + 36, left + 8 : left + 40] = 1
    inside[top : top + 48, left : left + 64] = 1
    truth, inside = (torch.nn.functional.avg_pool2d(x[None], 8)[0] for x in (truth, inside))
    each = -(truth * gate.log() + (1 - truth) * (1 - gate).log()) * inside
    assert loss.item() == pytest.approx((each.sum() / (2 * inside.sum())).item(), rel=1e-4)


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('name', sorted(GATES))
def test_the_loss_reaches_the_gate(name, with_cp):
    model = whole(True, backbone=backbone_config(with_cp=with_cp))
    losses_of(model)[name].backward()
    part, index = name.removeprefix('loss_aux_gate_')[:-1], int(name[-1])
    gate = getattr(model, part).gates[index].spatial
    assert all(p.grad is not None and p.grad.any() for p in gate.parameters())
    assert model.head.pixel_guidance.gate_bias.grad.any()


def test_a_gate_is_named_as_the_map_of_its_stage():
    """Maps are numbered among those that the backbone returns, gates among all stages."""
    torch.manual_seed(0)
    head = head_config(encoder=encoder_config(num_levels=4))
    head['pixel_guidance'].update(guide_gates=True, backbone_channels=CHANNELS[1:], backbone_stages=(0, 1, 2))
    model = tiny_model(
        head=head,
        backbone=backbone_config(out_indices=(1, 2, 3)),
        neck=neck_config(in_channels=CHANNELS[1:], num_outs=4),
    ).train()
    scores = {}
    for stage, gate in enumerate(model.backbone.gates):
        gate.spatial.score.register_forward_hook(lambda *args, stage=stage: scores.update({stage: args[-1]}))
    losses = losses_of(model)
    assert {name for name in losses if 'gate_backbone' in name} == {f'loss_aux_gate_backbone{i}' for i in range(3)}
    for i in range(3):
        found = torch.autograd.grad(
            losses[f'loss_aux_gate_backbone{i}'], list(scores.values()), retain_graph=True, allow_unused=True
        )
        reached = [stage for stage, gradient in zip(scores, found) if gradient is not None and gradient.any()]
        assert reached == list(range(i + 2))


def test_it_changes_no_answer_and_leaves_no_hook():
    with_gates, without = whole(True), whole(False)
    losses_of(with_gates)
    assert not any(module._forward_hooks for module in with_gates.modules())
    given = dict(strict=False)
    without.load_state_dict(with_gates.state_dict(), **given)
    one, other = (model.eval().test_step(batch_of(ITEMS)) for model in (with_gates, without))
    for a, b in zip(one, other):
        assert torch.equal(a.pred_instances.bboxes, b.pred_instances.bboxes)
        assert (a.pred_instances.masks == b.pred_instances.masks).all()


def test_guided_gates_soon_point_at_the_object():
    model = whole(True)
    generator = torch.Generator().manual_seed(5)
    pairs = []
    for _ in range(4):
        x, y = (8 * torch.randint(0, 4, (2,), generator=generator)).tolist()
        one = item(64, 64, text='ring', boxes=[[x, y, x + 24, y + 24]], masks=[rectangle(64, 64, x, y, x + 24, y + 24)])
        one['inputs'][:, y : y + 24, x : x + 24] = 255 - one['inputs'][:, y : y + 24, x : x + 24] // 8
        pairs.append((one, (x, y)))
    seen = {}
    for part, i in (('backbone', 0), ('backbone', 1), ('neck', 0)):
        gate = getattr(model, part).gates[i].spatial
        gate.register_forward_hook(lambda module, args, out, key=f'{part}{i}': seen.update({key: out.detach()}))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        found = losses_of(model, [one for one, _ in pairs])
        sum(value for name, value in found.items() if name in GATES).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        losses_of(model, [one for one, _ in pairs])
    for gate in seen.values():
        side = int(gate.shape[1] ** 0.5)
        for values, (_, (x, y)) in zip(gate[..., 0].unflatten(1, (side, side)), pairs):
            step = 64 // side
            on = torch.zeros(side, side, dtype=torch.bool)
            on[y // step : (y + 24) // step, x // step : (x + 24) // step] = True
            assert values[on].mean() > values[~on].mean() + 0.2


@pytest.mark.parametrize('change', [dict(spatial_gate=False), dict(channel_gate=False, spatial_gate=False)])
def test_without_spatial_gates_there_is_nothing_to_guide(change):
    model = whole(True, backbone=backbone_config(**change), neck=neck_config(**change))
    with pytest.raises(UserError, match='guide_gates=True, but none of the guided maps .* has a spatial gate'):
        losses_of(model)


def test_a_neck_without_gates_leaves_those_of_the_backbone():
    names = {name for name in losses_of(whole(True, neck=neck_config(gated=False))) if 'gate' in name}
    assert names == {name for name in GATES if 'backbone' in name}

import warnings

import pytest
import torch
from helpers.tiny_model import CHANNELS, TEXT_DIM, backbone_config, open_gates
from mmdet.models.backbones import SwinTransformer
from mmdet.models.backbones.swin import SwinBlock

from mmuniqrnet.registry import MODELS

IMAGES = torch.randn(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
SENTENCES = torch.randn(3, 2, TEXT_DIM, generator=torch.Generator().manual_seed(1))


def backbone(**changes):
    torch.manual_seed(0)
    return open_gates(MODELS.build(backbone_config(**changes))).eval()


def differing(one, other):
    return [i for i, (a, b) in enumerate(zip(one, other)) if not torch.equal(a, b)]


def test_shapes():
    sizes = [tuple(x.shape) for x in backbone()(IMAGES, SENTENCES[0])]
    assert sizes == [(2, c, 32 // s, 64 // s) for c, s in zip(CHANNELS, (4, 8, 16, 32))]


@pytest.mark.parametrize('height, width', [(37, 53), (4, 4), (65, 31)])
def test_odd_sizes_are_rounded_up_at_every_stage(height, width):
    maps = backbone()(torch.randn(2, 3, height, width), SENTENCES[0])
    for i, x in enumerate(maps):
        height, width = (-(-height // 4), -(-width // 4)) if i == 0 else (-(-height // 2), -(-width // 2))
        assert x.shape[-2:] == (height, width)


def test_the_text_changes_every_stage():
    model = backbone()
    assert differing(model(IMAGES, SENTENCES[0]), model(IMAGES, SENTENCES[1])) == [0, 1, 2, 3]


@pytest.mark.parametrize('off', [dict(channel_gate=False, spatial_gate=False), dict(gated_stages=())])
def test_without_gates_the_text_changes_nothing(off):
    model = backbone(**off)
    assert differing(model(IMAGES, SENTENCES[0]), model(IMAGES)) == []
    assert not list(model.gates.parameters())


@pytest.mark.parametrize('stage', [0, 1, 2, 3])
def test_a_gate_changes_its_stage_and_the_later_ones(stage):
    model = backbone(gated_stages=(stage,))
    assert differing(model(IMAGES, SENTENCES[0]), model(IMAGES)) == list(range(stage, 4))


def test_a_sentence_changes_only_its_own_sample():
    model = backbone()
    mixed = torch.stack([SENTENCES[0, 0], SENTENCES[1, 1]])
    for one, other in zip(model(IMAGES, SENTENCES[0]), model(IMAGES, mixed)):
        assert torch.allclose(one[0], other[0], atol=1e-6) and not torch.allclose(one[1], other[1], atol=1e-3)


def plain_twin(model, **changes):
    config = backbone_config(**changes)
    plain = SwinTransformer(
        **{k: config[k] for k in ('embed_dims', 'depths', 'num_heads', 'window_size', 'drop_path_rate')}
    )
    state = {k: v for k, v in model.state_dict().items() if not k.startswith('gates.')}
    plain.load_state_dict(state, strict=True)
    plain.eval()
    return plain


@pytest.mark.parametrize('size', [(32, 64), (50, 38)])
def test_with_no_sentence_it_is_mmdets_swin(size):
    model = backbone(depths=(2, 1, 2, 1))
    plain = plain_twin(model, depths=(2, 1, 2, 1))
    images = torch.randn(2, 3, *size)
    for one, other in zip(model(images), plain(images)):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_the_gated_tokens_go_to_the_output_and_to_the_next_stage():
    model = backbone(depths=(2, 1, 2, 1))
    plain = plain_twin(model, depths=(2, 1, 2, 1))
    sentence = SENTENCES[0]
    x, hw = plain.patch_embed(IMAGES)
    for i, stage in enumerate(plain.stages):
        _, _, x, _ = stage(x, hw)
        x = model.gates[i](x, sentence)
        expected = getattr(plain, f'norm{i}')(x).reshape(2, *hw, -1).permute(0, 3, 1, 2)
        torch.testing.assert_close(model(IMAGES, sentence)[i], expected, rtol=1e-5, atol=1e-5)
        if stage.downsample is not None:
            x, hw = stage.downsample(x, hw)


def rows_seen(modules):
    """A list that grows by the batch size of every call of these modules."""
    rows = []
    for module in modules:
        module.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    return rows


@pytest.mark.parametrize('changes', [{}, dict(gated_stages=(2,)), dict(gated_stages=()), dict(with_cp=True)])
def test_sentences_share_an_image_up_to_the_first_gate(changes):
    """The same maps and gradients as with a copy of the image for each sentence, from fewer blocks."""
    image_of, sentences = torch.tensor([1, 0, 1, 1]), torch.cat([SENTENCES[0], SENTENCES[1]])
    results = []
    for shared in (True, False):
        model = backbone(**changes).train()
        rows = rows_seen([stage.blocks[0] for stage in model.stages])
        maps = model(IMAGES, sentences, image_of) if shared else model(IMAGES[image_of], sentences)
        gate = model.first_gate
        assert rows == ([2] * (gate + 1) + [4] * (3 - gate) if shared else [4] * 4)
        torch.manual_seed(0)
        sum((x * torch.randn(x.shape)).sum() for x in maps).backward()
        results.append([*maps, *(p.grad for p in model.parameters() if p.grad is not None)])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.detach().abs().max()))


def test_blocks_before_the_first_gate_are_dropped_for_all_sentences_of_an_image():
    torch.manual_seed(0)
    model = backbone(depths=(6, 1, 1, 1), drop_path_rate=0.9, gated_stages=()).train()
    maps = model(IMAGES[:1].repeat(2, 1, 1, 1), SENTENCES[0][:1].repeat(4, 1), torch.tensor([0, 1, 1, 0]))
    assert torch.equal(maps[0][0], maps[0][3]) and torch.equal(maps[0][1], maps[0][2])
    assert not torch.allclose(maps[0][0], maps[0][1])


def test_gradients_reach_every_parameter_and_the_sentence():
    model = backbone(depths=(2, 2, 2, 2)).train()
    sentence = SENTENCES[0].clone().requires_grad_()
    sum(x.square().mean() for x in model(IMAGES, sentence)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert sentence.grad.any(dim=1).all()


@pytest.mark.parametrize('stage', [0, 1, 2])
def test_a_loss_on_one_stage_leaves_the_later_ones_alone(stage):
    model = backbone()
    model(IMAGES, SENTENCES[0])[stage].square().mean().backward()
    for i in range(4):
        for part in (model.gates[i], model.stages[i].blocks):
            assert all((p.grad is not None) == (i <= stage) for p in part.parameters())


@pytest.mark.parametrize('depths', [(2, 1, 1, 1)])
def test_checkpointing_changes_neither_outputs_nor_gradients(depths):
    results = []
    for with_cp in (False, True):
        model = backbone(depths=depths, with_cp=with_cp).train()
        sentence = SENTENCES[0].clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter('error')  # torch warns of the reentrant kind
            outs = model(IMAGES, sentence)
            sum(x.square().mean() for x in outs).backward()
        results.append((outs, sentence.grad, {k: p.grad for k, p in model.named_parameters()}))
    (outs, text_grad, grads), (cp_outs, cp_text_grad, cp_grads) = results
    assert differing(outs, cp_outs) == []
    assert torch.allclose(text_grad, cp_text_grad, atol=1e-6)
    assert all(cp_grads[k] is not None and torch.allclose(g, cp_grads[k], atol=1e-6) for k, g in grads.items())


def kept_bytes(model):
    """Bytes that a forward pass keeps for the backward pass, without parameters."""
    kept, parameters = {}, {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(x):
        kept[x.untyped_storage().data_ptr()] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        model(torch.randn(2, 3, 128, 128), SENTENCES[0])
    return sum(x.untyped_storage().nbytes() for place, x in kept.items() if place not in parameters)


def test_blocks_keep_less_than_mmdets_and_even_less_with_checkpointing():
    options = dict(depths=(4, 2, 2, 2), gated_stages=())
    ours, theirs, checkpointed = backbone(**options), backbone(**options), backbone(**options, with_cp=True)
    for module in theirs.modules():
        if isinstance(module, SwinBlock):
            module.__class__ = SwinBlock
    kept = [kept_bytes(model.train()) for model in (theirs, ours, checkpointed)]
    assert kept[1] < 0.6 * kept[0] and kept[2] < 0.5 * kept[1]


def test_frozen_stages_are_frozen_at_once_and_stay_so():
    model = MODELS.build(backbone_config(frozen_stages=2, drop_path_rate=0.5))
    for _ in range(2):
        names = {name.split('.blocks')[0] for name, p in model.named_parameters() if p.requires_grad}
        assert 'stages.2' in names and 'gates.0.channel.squeeze.V' in names
        assert not any(name.startswith(('patch_embed', 'stages.0', 'stages.1', 'norm0', 'norm1')) for name in names)
        assert not model.stages[1].training and model.stages[2].training
        model.train()


def test_train_and_eval_return_the_backbone():
    model = backbone()
    assert model.train() is model and model.eval() is model and not model.training


def test_out_indices_choose_the_maps():
    model = backbone(out_indices=(1, 3))
    assert [x.shape[1] for x in model(IMAGES, SENTENCES[0])] == [CHANNELS[1], CHANNELS[3]]


def test_three_stages():
    model = backbone(
        depths=(1, 1, 1), num_heads=(2, 2, 4), strides=(4, 2, 2), out_indices=(0, 1, 2), gated_stages=(0, 1, 2)
    )
    assert [x.shape[-1] for x in model(IMAGES, SENTENCES[0])] == [16, 8, 4]


# What the stage's own map sees of the gates --------------------------------------------------------------------------


def spatial_effect(model):
    """The relative change of each stage's own map when its spatial gates are replaced by the mean over tokens."""
    effects = []
    for stage in range(4):
        flat = lambda module, args, gate: gate.mean(dim=1, keepdim=True).expand_as(gate)  # noqa: E731
        with torch.no_grad():
            gated = model(IMAGES, SENTENCES[0])[stage]
            with model.gates[stage].spatial.register_forward_hook(flat):
                mean = model(IMAGES, SENTENCES[0])[stage]
        effects.append(((gated - mean).norm() / mean.norm()).item())
    return effects


def test_a_spatial_gate_cancels_in_the_published_output_and_not_after_the_norm():
    assert max(spatial_effect(backbone())) < 0.01
    assert min(spatial_effect(backbone(gate_output='after_norm'))) > 0.05


def test_after_the_norm_the_map_is_the_normalised_tokens_times_twice_each_gate():
    model = backbone(gate_output='after_norm')
    seen = {}
    for name, module in model.named_modules():
        if name.endswith(('.channel', '.spatial')):
            module.register_forward_hook(lambda module, args, out, name=name: seen.update({name: out}))
        if name in ('gates.0', 'gates.1', 'gates.2', 'gates.3'):
            module.register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[0]}))
    maps = model(IMAGES, SENTENCES[0])
    for i, x in enumerate(maps):
        tokens = torch.nn.functional.layer_norm(seen[f'gates.{i}'], (CHANNELS[i],))
        expected = 4 * tokens * seen[f'gates.{i}.channel'] * seen[f'gates.{i}.spatial']
        assert torch.allclose(x.flatten(2).transpose(1, 2), expected, atol=1e-4)


def test_new_gates_after_the_norm_change_no_map_of_the_first_stage():
    torch.manual_seed(0)
    model = MODELS.build(backbone_config(gate_output='after_norm')).eval()
    assert torch.equal(model(IMAGES, SENTENCES[0])[0], model(IMAGES)[0])


def test_the_place_of_the_norm_changes_nothing_that_the_next_stage_sees():
    """Only the maps differ: the tokens that go to patch merging are gated as published."""
    tokens = []
    for gate_output in ('before_norm', 'after_norm'):
        model = backbone(gate_output=gate_output)
        for stage in model.stages[:3]:
            stage.downsample.register_forward_pre_hook(lambda module, args: tokens.append(args[0]))
        model(IMAGES, SENTENCES[0])
    assert all(torch.equal(a, b) for a, b in zip(tokens[:3], tokens[3:]))


def test_an_unknown_place_of_the_norm_is_refused():
    with pytest.raises(ValueError, match="gate_output is 'before_norm' or 'after_norm', not 'after'"):
        MODELS.build(backbone_config(gate_output='after'))


@pytest.mark.parametrize('pretrained', [False, True])
def test_normalised_gates_keep_their_initialisation(tmp_path, pretrained):
    """Swin's own initialisation of linear layers would make them fifty times smaller."""
    changes = {}
    if pretrained:
        plain = {k: v for k, v in backbone().state_dict().items() if not k.startswith('gates.')}
        torch.save(dict(state_dict=plain), tmp_path / 'swin.pth')
        changes = dict(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'swin.pth')))
    model = MODELS.build(backbone_config(gate_norm=True, gate_limit=4.0, **changes))
    model.init_weights()
    assert 0.8 < model.gates[3].channel.squeeze.decoder.weight.std() < 1.2
    assert model.gates[3].spatial.score.decoder.weight.std() < 0.05  # as published
    ungated = model(IMAGES)
    assert torch.allclose(model(IMAGES, SENTENCES[0])[0], ungated[0], atol=1e-3)  # gates of one half


def test_maps_in_half_precision_are_about_as_exact_as_autocast():
    plain, half = (backbone(depths=(2, 2, 4, 2), half_residual=half) for half in (False, True))
    exact = plain(IMAGES, SENTENCES[0])
    with torch.autocast('cpu', torch.bfloat16):
        errors = [
            [((x.float() - e).norm() / e.norm()).item() for x, e in zip(model(IMAGES, SENTENCES[0]), exact)]
            for model in (plain, half)
        ]
        assert {x.dtype for x in half(IMAGES, SENTENCES[0])} == {torch.bfloat16}
    assert all(b < 3 * a < 0.2 for a, b in zip(*errors)), errors

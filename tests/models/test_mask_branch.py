import pytest
import torch
from helpers.head_samples import branch_inputs
from helpers.tiny_model import DIM

from mmuniqrnet.models import MaskBranch
from mmuniqrnet.models.encoders.visual_linguistic_encoder import EncoderOutput


def branch(**changes):
    torch.manual_seed(0)
    arguments = dict(embed_dims=DIM, in_channels=DIM, feat_channels=8, norm_cfg=dict(type='GN', num_groups=4)) | changes
    return MaskBranch(**arguments).eval()


@pytest.mark.parametrize('levels, stride', [((2, 1, 0), 4), ((0,), 4), ((1, 0), 4), ((2, 1), 8), ((3,), 32)])
def test_the_last_level_gives_the_stride(levels, stride):
    assert branch(levels=levels)(*branch_inputs()).shape == (2, 1, 64 // stride, 64 // stride)


def test_gradients_reach_reg_the_maps_and_the_levels_in_use():
    model, (reg, maps, levels) = branch(levels=(1, 0)), branch_inputs(requires_grad=True)
    model(reg, maps, levels).square().sum().backward()
    assert all(x.grad is not None and x.grad.any() for x in (reg, *maps))
    assert [x.grad is not None and x.grad.any().item() for x in levels] == [True, True, False, False, False]
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def layers_of(maps, count=3):
    """Outputs of several encoder layers."""
    generator = torch.Generator().manual_seed(5)
    return [
        EncoderOutput(
            torch.randn(2, DIM, generator=generator),
            torch.empty(2, 0, DIM),
            [torch.randn(x.shape, generator=generator) for x in maps],
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize('levels, strides', [((2, 1, 0), (16, 4)), ((0,), (4, 4)), ((1, 0), (8, 4))])
def test_earlier_layers_are_predicted_at_the_first_level(levels, strides):
    model, (_, maps, neck) = branch(levels=levels), branch_inputs()
    layers = layers_of(maps)
    *earlier, last = model.forward_layers(layers, neck)
    assert [64 // x.shape[-1] for x in (*earlier, last)] == [strides[0], strides[0], strides[1]]
    assert torch.equal(last, model(layers[-1].reg, layers[-1].maps, neck))
    # An earlier layer's mask is that of a branch that ends at the first level.
    short = branch(levels=levels[:1])
    kept = short.state_dict().keys()
    short.load_state_dict({key: value for key, value in model.state_dict().items() if key in kept})
    for layer, logits in zip(layers, earlier):
        assert torch.allclose(logits, short(layer.reg, layer.maps, neck), atol=1e-6)


def test_lateral_maps_are_computed_once_for_all_layers():
    model, (_, maps, neck) = branch(), branch_inputs()
    calls = []
    for conv in model.lateral_convs:
        conv.register_forward_hook(lambda *args: calls.append(1))
    model.forward_layers(layers_of(maps), neck)
    assert len(calls) == 3


def test_each_sample_is_read_with_its_own_token():
    model, (reg, maps, levels) = branch(), branch_inputs()
    logits = model(reg, maps, levels)
    alone = model(reg[1:], [x[1:] for x in maps], [x[1:] for x in levels])
    assert torch.allclose(logits[1:], alone, atol=1e-5)
    swapped = model(reg.flip(0), maps, levels)
    assert not torch.allclose(swapped, logits, atol=1e-3)


def test_logits_are_the_token_s_classifier_on_the_pixel_features():
    model, (reg, maps, levels) = branch(), branch_inputs()
    seen = {}
    model.convs[-1].register_forward_hook(lambda module, args, out: seen.update(features=out))
    logits = model(reg, maps, levels)
    numbers = model.classifier(reg)
    for y, x in ((0, 0), (3, 9), (15, 15)):
        for b in range(2):
            expected = seen['features'][b, :, y, x] @ numbers[b, :8] / 8**0.5 + numbers[b, 8]
            assert torch.allclose(logits[b, 0, y, x], expected, atol=1e-5)


def test_what_is_where_in_the_maps_is_where_in_the_mask():
    """A map that differs in its top left corner changes the logits there, not in the bottom right one."""
    model, (reg, maps, levels) = branch(norm_cfg=None, levels=(0,)), branch_inputs()
    other = [maps[0].clone(), maps[1]]
    other[0][:, :, 0, 0] += 1
    change = (model(reg, other, levels) - model(reg, maps, levels)).abs()[0, 0]
    assert change[0, 0] > 0 and not change[12:, 12:].any()

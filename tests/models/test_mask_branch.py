import pytest
import torch
from helpers.head_samples import branch_inputs
from helpers.tiny_model import DIM

from mmuniqrnet.models import MaskBranch


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

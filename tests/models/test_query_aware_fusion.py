import pytest
import torch
from helpers.tiny_model import CHANNELS, DIM, TEXT_DIM, neck_config, open_gates

from mmuniqrnet.registry import MODELS

SENTENCE = torch.randn(2, TEXT_DIM, generator=torch.Generator().manual_seed(0))


def neck(**changes):
    torch.manual_seed(0)
    return open_gates(MODELS.build(neck_config(**changes))).eval()


def stage_maps(*sizes):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(2, c, *s, generator=generator) for c, s in zip(CHANNELS, sizes)]


EVEN = stage_maps((16, 24), (8, 12), (4, 6), (2, 3))


def by_hand(model, maps, sentence):
    """The published calculation for even sizes, pixel by pixel where it matters."""
    laterals = [
        torch.einsum('oc,bchw->bohw', conv.conv.weight[:, :, 0, 0], x) + conv.conv.bias[:, None, None]
        for conv, x in zip(model.lateral_convs, maps)
    ]
    for i in (3, 2, 1):
        fine, coarse = laterals[i - 1].clone(), laterals[i]
        for y in range(fine.shape[2]):
            for x in range(fine.shape[3]):
                fine[:, :, y, x] += coarse[:, :, y // 2, x // 2]
        laterals[i - 1] = fine
    levels = [laterals[0]]
    for i in range(3):
        x = levels[i]
        b, c, h, w = x.shape
        if sentence is not None:
            x = (
                model.gates[i](x.permute(0, 2, 3, 1).reshape(b, h * w, c), sentence)
                .reshape(b, h, w, c)
                .permute(0, 3, 1, 2)
            )
        mean = (x[:, :, 0::2, 0::2] + x[:, :, 1::2, 0::2] + x[:, :, 0::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
        levels.append(laterals[i + 1] + mean)
    levels.append(levels[-1][:, :, ::2, ::2])
    return levels


@pytest.mark.parametrize('sentence', [SENTENCE, None], ids=['sentence', 'plain'])
def test_it_is_the_published_calculation(sentence):
    maps = stage_maps((16, 32), (8, 16), (4, 8), (2, 4))
    outs = neck()(maps, sentence)
    assert len(outs) == 5
    for out, expected in zip(outs, by_hand(neck(), maps, sentence)):
        assert torch.allclose(out, expected, atol=1e-5)


def test_the_text_changes_all_but_the_finest_level():
    model = neck()
    changed = [not torch.allclose(a, b) for a, b in zip(model(EVEN, SENTENCE), model(EVEN, -SENTENCE))]
    assert changed == [False, True, True, True, True]


@pytest.mark.parametrize('off', [dict(gated=False), dict(channel_gate=False, spatial_gate=False)])
def test_without_gates_the_sentence_changes_nothing(off):
    model = neck(**off)
    assert all(torch.equal(a, b) for a, b in zip(model(EVEN, SENTENCE), model(EVEN)))
    assert not list(model.gates.parameters())


def test_odd_sizes_keep_the_sizes_of_the_maps():
    sizes = [(13, 17), (7, 9), (4, 5), (2, 3)]
    outs = neck()(stage_maps(*sizes), SENTENCE)
    assert [tuple(x.shape) for x in outs] == [(2, DIM, *s) for s in sizes] + [(2, DIM, 1, 2)]


def test_the_rest_of_an_odd_size_is_the_mean_of_what_is_there():
    model = neck(in_channels=(1, 1), out_channels=1, num_outs=2)
    for conv in model.lateral_convs:
        conv.conv.weight.data.fill_(1)
        conv.conv.bias.data.zero_()
    fine = torch.ones(1, 1, 5, 5)
    _, coarse = model([fine, torch.zeros(1, 1, 3, 3)])
    assert torch.allclose(coarse, torch.ones(1, 1, 3, 3))


def test_gradients_reach_every_parameter_and_the_sentence():
    model, sentence = neck(), SENTENCE.clone().requires_grad_()
    sum(x.square().mean() for x in model(EVEN, sentence)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert sentence.grad.any()


@pytest.mark.parametrize('num_outs', [4, 6])
def test_extra_levels(num_outs):
    outs = neck(num_outs=num_outs)(stage_maps((32, 32), (16, 16), (8, 8), (4, 4)), SENTENCE)
    assert [x.shape[-1] for x in outs] == [32, 16, 8, 4, 2, 1][:num_outs]


def test_a_wrong_number_of_maps_says_what_to_check():
    with pytest.raises(ValueError, match=r'built for 4 maps .* given 3; check the backbone\'s out_indices'):
        neck()(EVEN[:3], SENTENCE)


def test_too_few_outs_are_refused():
    with pytest.raises(ValueError, match=r'num_outs=3 is less than the 4 maps'):
        neck(num_outs=3)

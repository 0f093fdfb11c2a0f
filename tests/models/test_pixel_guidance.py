import pytest
import torch
from helpers.tiny_model import CHANNELS, DIM, TEXT_DIM, backbone_config, neck_maps, open_gates

from mmuniqrnet.models import PixelGuidance
from mmuniqrnet.registry import MODELS

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

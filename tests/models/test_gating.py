"""Outputs and gradients of the gates, against the formulas of the paper written plainly."""

import pytest
import torch
from helpers.tiny_model import open_gates

from mmuniqrnet.models.layers import DynamicLinear, QueryDynamicAttention
from mmuniqrnet.models.layers.gating import mean_and_maximum, multiply


def plain_dynamic(layer, x, text):
    u = layer.decoder(text).view(len(text), layer.in_features + 1, layer.rank)
    matrix = u @ layer.V
    return x @ matrix[:, :-1] + matrix[:, -1:]


def plain_gates(attention, x, text):
    """Section 3.2 of QRNet, one operation after the other."""
    if attention.channel is not None:
        pooled = [x.mean(1, keepdim=True), x.max(1, keepdim=True).values]
        logits = [
            plain_dynamic(attention.channel.excite, plain_dynamic(attention.channel.squeeze, p, text).relu(), text)
            for p in pooled
        ]
        x = x * sum(logits).sigmoid()
    if attention.spatial is not None:
        x = x * plain_dynamic(attention.spatial.score, x, text).sigmoid()
    return x


def results(function, x, text, parameters):
    x, text = x.clone().requires_grad_(), text.clone().requires_grad_()
    out = function(x, text)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return [out, *torch.autograd.grad((out * weight).sum(), [x, text, *parameters])]


@pytest.mark.parametrize('channel, spatial', [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize('tokens, channels', [(1, 32), (2, 32), (97, 48), (400, 32), (6400, 16)])
def test_outputs_and_gradients_are_those_of_the_plain_formulas(tokens, channels, channel, spatial):
    torch.manual_seed(0)
    options = dict(rank=6, reduction=4, channel_gate=channel, spatial_gate=spatial)
    attention = open_gates(QueryDynamicAttention(channels, 12, **options))
    x, text = torch.randn(2, tokens, channels), torch.randn(2, 12)
    parameters = list(attention.parameters())
    expected = results(lambda x, text: plain_gates(attention, x, text), x, text, parameters)
    for one, other in zip(results(attention, x, text, parameters), expected):
        assert (one - other).norm() <= 1e-5 * other.norm()
    with torch.no_grad():  # another path than with gradients
        torch.testing.assert_close(attention(x, text), expected[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('tokens, out', [(1, 4), (2, 4), (50, 4), (50, 1)])
def test_a_dynamic_layer_scales_the_channels_of_its_input(tokens, out):
    """On both ways, by the factors and by their product."""
    layer = open_gates(DynamicLinear(8, out, 5, rank=3))
    x, text, channels = torch.randn(2, tokens, 8), torch.randn(2, 5), torch.rand(2, 1, 8)
    torch.testing.assert_close(layer(x, text, channels), plain_dynamic(layer, x * channels, text))


def test_the_product_of_the_factors_is_formed_only_where_it_is_cheaper():
    assert DynamicLinear(96, 1, 5)._product_costs_less(25600)  # a spatial gate
    assert not DynamicLinear(768, 48, 5)._product_costs_less(2)  # a channel gate
    assert not DynamicLinear(48, 768, 5)._product_costs_less(2)


def test_the_gradient_of_equal_maxima_goes_to_one_of_them():
    x = torch.zeros(1, 6, 3, requires_grad=True)
    mean_and_maximum(x)[:, 1].sum().backward()
    assert torch.equal(x.grad.sum(1), torch.ones(1, 3)) and set(x.grad.flatten().tolist()) == {0.0, 1.0}


def test_gradients_of_the_functions():
    x = torch.randn(2, 12, 3, dtype=torch.double, requires_grad=True)
    gates = [torch.rand(2, *size, dtype=torch.double, requires_grad=True) for size in ((1, 3), (12, 1))]
    assert torch.autograd.gradcheck(mean_and_maximum, x)
    assert torch.autograd.gradcheck(lambda x, *gates: multiply(x, gates), (x, *gates))


@pytest.mark.parametrize('grad', [True, False])
def test_gates_of_float32_leave_the_tokens_in_their_dtype(grad):
    """Autocast computes the sums of a channel gate in float32."""
    tokens, gates = torch.randn(2, 6, 4).bfloat16(), [torch.rand(2, 1, 4), torch.rand(2, 6, 1)]
    with torch.set_grad_enabled(grad):
        out = multiply(tokens, gates)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), tokens.float() * gates[0] * gates[1], rtol=0.03, atol=0)

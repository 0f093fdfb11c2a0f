import pytest
import torch
from helpers.tiny_model import open_gates

from mmuniqrnet.models.layers import ChannelGate, QueryDynamicAttention, SpatialGate

X = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(0))
SENTENCE = torch.randn(2, 7, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    'channel, spatial, divisor', [(True, True, 4), (True, False, 2), (False, True, 2), (False, False, 1)]
)
def test_new_gates_are_one_half_each(channel, spatial, divisor):
    attention = QueryDynamicAttention(32, 7, channel_gate=channel, spatial_gate=spatial)
    assert torch.equal(attention(X, SENTENCE), X / divisor)


def test_without_gates_there_are_no_parameters():
    assert not list(QueryDynamicAttention(32, 7, channel_gate=False, spatial_gate=False).parameters())


def dynamic(layer, x, t):
    """The published form, with the product formed: x [N, in], t [D]."""
    matrix = (layer.decoder.weight @ t + layer.decoder.bias).reshape(-1, layer.rank) @ layer.V
    return x @ matrix[:-1] + matrix[-1]


def test_channel_gate_is_the_sum_of_one_mlp_on_mean_and_maximum():
    gate = open_gates(ChannelGate(32, 7))
    assert gate.squeeze.out_features == 2  # C / 16
    for b in range(2):
        pooled = [X[b].mean(0)[None], X[b].max(0).values[None]]
        both = [dynamic(gate.excite, dynamic(gate.squeeze, p, SENTENCE[b]).relu(), SENTENCE[b]) for p in pooled]
        assert torch.allclose(gate(X, SENTENCE)[b], (both[0] + both[1]).sigmoid(), atol=1e-5)


def test_the_spatial_gate_sees_the_channel_gated_tokens():
    attention = open_gates(QueryDynamicAttention(32, 7))
    out = attention(X, SENTENCE)
    for b in range(2):
        x = X[b] * attention.channel(X, SENTENCE)[b]
        expected = x * dynamic(attention.spatial.score, x, SENTENCE[b]).sigmoid()
        assert torch.allclose(out[b], expected, atol=1e-5)


def test_gate_shapes():
    assert ChannelGate(32, 7)(X, SENTENCE).shape == (2, 1, 32)
    assert SpatialGate(32, 7)(X, SENTENCE).shape == (2, 6, 1)
    assert ChannelGate(8, 7).squeeze.out_features == 1  # never none


def test_it_keeps_nothing_between_calls():
    attention = open_gates(QueryDynamicAttention(32, 7))
    before = {name for module in attention.modules() for name in vars(module)}
    first = attention(X, SENTENCE)
    attention(X * 2, SENTENCE + 1)
    assert {name for module in attention.modules() for name in vars(module)} == before
    assert torch.equal(attention(X, SENTENCE), first)


def test_hooks_on_the_gates_see_values_between_0_and_1():
    attention = open_gates(QueryDynamicAttention(32, 7))
    seen = {}
    attention.channel.register_forward_hook(lambda module, args, out: seen.update(channel=out))
    attention.spatial.register_forward_hook(lambda module, args, out: seen.update(spatial=out))
    out = attention(X, SENTENCE)
    assert torch.allclose(out, X * seen['channel'] * seen['spatial'])
    assert all(gate.min() > 0 and gate.max() < 1 for gate in seen.values())


def test_every_layer_learns_from_a_new_gate():
    """Both layers' V at zero would be a trap: the ReLU between them has no gradient at exactly zero."""
    torch.manual_seed(0)
    attention = QueryDynamicAttention(32, 7)
    optimizer = torch.optim.SGD(attention.parameters(), lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        (attention(X, SENTENCE) - X).square().mean().backward()
        optimizer.step()
    assert [name for name, p in attention.named_parameters() if not p.grad.any()] == []

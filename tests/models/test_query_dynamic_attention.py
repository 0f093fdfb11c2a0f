import pytest
import torch
from helpers.tiny_model import open_gates

from mmuniqrnet.models.layers import ChannelGate, DynamicLinear, QueryDynamicAttention, SpatialGate
from mmuniqrnet.models.layers.query_dynamic_attention import limit_logits
from mmuniqrnet.utils.errors import UserError

X = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(0))
SENTENCE = torch.randn(2, 7, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    'channel, spatial, divisor', [(True, True, 4), (True, False, 2), (False, True, 2), (False, False, 1)]
)
@pytest.mark.parametrize('options', [{}, dict(gate_norm=True, gate_limit=4.0)])
def test_new_gates_are_one_half_each(channel, spatial, divisor, options):
    attention = QueryDynamicAttention(32, 7, channel_gate=channel, spatial_gate=spatial, **options)
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


@pytest.mark.parametrize('options', [{}, dict(gate_norm=True, gate_limit=4.0)])
def test_every_layer_learns_from_a_new_gate(options):
    """Both layers' V at zero would be a trap: the ReLU between them has no gradient at exactly zero."""
    torch.manual_seed(0)
    attention = QueryDynamicAttention(32, 7, **options)
    optimizer = torch.optim.SGD(attention.parameters(), lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        (attention(X, SENTENCE) - X).square().mean().backward()
        optimizer.step()
    assert [name for name, p in attention.named_parameters() if not p.grad.any()] == []


# The options that are not published -----------------------------------------------------------------------------------


def pre_activations(gate, x, sentence):
    """What the hidden layer of a channel gate sees before its non-linearity."""
    seen = []
    with gate.squeeze.register_forward_hook(lambda module, args, out: seen.append(out)):
        gate(x, sentence)
    return seen[0]


@pytest.mark.parametrize(
    'channels, text_dim, tokens, gates', [(24, 64, 256, 40), (256, 768, 25600, 2), (768, 768, 400, 1)]
)
def test_normalised_hidden_inputs_have_unit_size_whatever_the_tokens(channels, text_dim, tokens, gates):
    """From nano's first stage to the neck and the last stage at 640 pixels; over several initialisations.

    Weight and bias of the layer each give a variance of 1, so the standard deviation is the root of 2.
    """
    torch.manual_seed(0)
    x, sentence = torch.randn(2, tokens, channels), torch.randn(2, text_dim)
    found: dict[str, list] = dict(small=[], large=[], published=[])
    for _ in range(gates):
        gate = ChannelGate(channels, text_dim, norm=True)
        found['small'].append(pre_activations(gate, 0.1 * x, sentence).flatten())
        found['large'].append(pre_activations(gate, 100 * x, sentence).flatten())
        found['published'].append(pre_activations(ChannelGate(channels, text_dim), 100 * x, sentence).flatten())
    small, large, published = (torch.cat(values).std() for values in found.values())
    assert 1 < small < 2 and 1 < large < 2
    assert published > 100


def test_normalised_gates_ignore_the_size_of_tokens_and_text():
    gate = open_gates(ChannelGate(32, 7, norm=True))
    one, other = gate(X, SENTENCE), gate(50 * X, 3 * SENTENCE)
    assert torch.allclose(one, other, atol=1e-4) and not torch.allclose(one, torch.full_like(one, 0.5), atol=1e-2)


def test_the_limit_bounds_the_gates_and_their_gradient_does_not_vanish():
    logits = torch.tensor([-500.0, -1e-3, 0.0, 1e-3, 500.0], requires_grad=True)
    limited = limit_logits(logits, 4.0)
    gates = limited.sigmoid()
    assert gates.min() > 0.0179 and gates.max() < 0.9821
    assert torch.allclose(limited[1:4], logits[1:4], rtol=1e-3)  # small logits are as they were
    gates.sum().backward()
    assert (logits.grad > 1e-7).all()
    assert torch.autograd.grad(logits.sigmoid().sum(), logits)[0][0] < 1e-30  # without a limit it vanishes
    assert limit_logits(logits, None) is logits


@pytest.mark.parametrize('limit', [1.0, 4.0])
def test_both_gates_are_limited(limit):
    attention = open_gates(QueryDynamicAttention(32, 7, gate_limit=limit))
    low = torch.tensor(-limit).sigmoid()
    for gate in (attention.channel(1000 * X, SENTENCE), attention.spatial(1000 * X, SENTENCE)):
        assert low < gate.min() < low + 0.02 and 1 - low - 0.02 < gate.max() < 1 - low


@pytest.mark.parametrize('limit', [0, -1.0, '4'])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(UserError, match='gate_limit is a number greater than 0'):
        QueryDynamicAttention(32, 7, gate_limit=limit)


def gates_after_training(**options):
    """Thirty steps of Adam with the learning rate of nano, towards other tokens; 64 channels, as in nano's neck."""
    torch.manual_seed(0)
    attention = QueryDynamicAttention(64, 64, rank=8, **options)
    optimizer = torch.optim.Adam(attention.parameters(), lr=1e-3, betas=(0.9, 0.98))
    x, sentence = 3 * torch.randn(16, 256, 64), torch.randn(16, 64)
    for _ in range(30):
        optimizer.zero_grad()
        weight = torch.randn(16, 1, 64) > 0  # nothing to learn: which channels count is drawn anew
        (attention(x, sentence) - weight * x).square().mean().backward()
        optimizer.step()
    gate = attention.channel(x, sentence)
    return ((gate < 0.02) | (gate > 0.98)).float().mean()


def test_noise_saturates_the_published_gate_within_tens_of_steps_and_not_the_normalised_one():
    assert gates_after_training() > 0.2
    assert gates_after_training(gate_norm=True, gate_limit=4.0) < 0.01


def test_another_copy_of_the_tokens_is_gated_alike_and_kept_by_new_gates():
    other = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(2))
    new = QueryDynamicAttention(32, 7)
    assert torch.equal(new(X, SENTENCE, other)[1], other)
    attention = open_gates(QueryDynamicAttention(32, 7))
    gated, twin = attention(X, SENTENCE, other)
    assert torch.equal(gated, attention(X, SENTENCE))
    assert torch.allclose(twin, 4 * other * (gated / X), rtol=1e-3, atol=1e-5)


def test_the_decoder_of_a_unit_text_gives_entries_of_unit_size():
    torch.manual_seed(0)
    layer = DynamicLinear(64, 8, 768, unit_text=True)
    u = layer.decoder(torch.nn.functional.normalize(torch.randn(4, 768), dim=-1))
    assert u.std().item() == pytest.approx(1.0, abs=0.05)

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny_model import CANVAS, DIM, NUM_TOKENS, TEXT_DIM, encoder_config, neck_maps, text_features

from mmuniqrnet.checkpoints.loading import check_fit
from mmuniqrnet.models.encoders.visual_linguistic_encoder import EncoderLayer
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import CheckpointError

LEARNED = dict(position='learned', level_sizes=((4, 4), (2, 2)))
BOTH = [pytest.param({}, id='sine'), pytest.param(LEARNED, id='learned')]


def encoder(**changes):
    torch.manual_seed(0)
    return MODELS.build(encoder_config(**changes)).eval()


def no_padding(batch=2, canvas=CANVAS):
    return torch.zeros(batch, canvas, canvas, dtype=torch.bool)


def test_shapes():
    out = encoder()(neck_maps(), text_features(), no_padding())
    assert out.reg.shape == (2, DIM) and out.text.shape == (2, NUM_TOKENS, DIM)
    assert [tuple(x.shape) for x in out.maps] == [(2, DIM, 4, 4), (2, DIM, 2, 2)]


def attention_by_hand(layer, q, k, v, padding):
    """Multi-head attention of one sample, head by head."""
    attention, (_, d) = layer.self_attn, q.shape
    q, k, v = (
        F.linear(x, w, b)
        for x, w, b in zip((q, k, v), attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3))
    )
    heads = []
    for h in range(attention.num_heads):
        part = slice(h * d // attention.num_heads, (h + 1) * d // attention.num_heads)
        scores = q[:, part] @ k[:, part].T / (d / attention.num_heads) ** 0.5
        scores[:, padding] = -torch.inf
        heads.append(scores.softmax(-1) @ v[:, part])
    return F.linear(torch.cat(heads, dim=1), attention.out_proj.weight, attention.out_proj.bias)


@pytest.mark.parametrize('norm_first', [False, True])
def test_a_layer_adds_positions_to_queries_and_keys_only(norm_first):
    torch.manual_seed(0)
    layer = EncoderLayer(8, 2, 16, 0.1, norm_first).eval()
    for norm in (layer.norm1, layer.norm2):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    x, position = torch.randn(1, 5, 8), torch.randn(1, 5, 8)
    padding = torch.tensor([[False, False, True, False, True]])

    def attend(t):
        return attention_by_hand(layer, t + position[0], t + position[0], t, padding[0])

    def feed_forward(t):
        return layer.linear2(layer.linear1(t).clamp(min=0))

    if norm_first:
        y = x[0] + attend(layer.norm1(x[0]))
        y = y + feed_forward(layer.norm2(y))
    else:
        y = layer.norm1(x[0] + attend(x[0]))
        y = layer.norm2(y + feed_forward(y))
    assert torch.allclose(layer(x, position, padding)[0], y, atol=1e-5)


@pytest.mark.parametrize('changes', BOTH)
def test_a_token_returns_to_the_place_it_came_from(changes):
    model = encoder(norm_first=True, **changes)
    for layer in model.layers:  # without these two, a layer passes every token on as it is
        for linear in (layer.self_attn.out_proj, layer.linear2):
            torch.nn.init.zeros_(linear.weight)
            torch.nn.init.zeros_(linear.bias)
    levels, text = neck_maps(), text_features()
    out = model(levels, text, no_padding())
    for i, x in zip((2, 3), out.maps):
        for y in range(x.shape[2]):
            for c in range(x.shape[3]):
                token = model.visual_proj(levels[i][:, :, y, c] + model.level_embed.weight[i])
                assert torch.allclose(x[:, :, y, c], model.norm(token), atol=1e-5)
    assert torch.allclose(out.text, model.norm(model.text_proj(text.tokens)), atol=1e-5)
    assert torch.allclose(out.reg, model.norm(model.reg_token.weight).expand(2, -1), atol=1e-5)


@pytest.mark.parametrize('norm_first', [False, True])
@pytest.mark.parametrize('changes', BOTH)
def test_what_stands_in_the_padding_does_not_matter(changes, norm_first):
    model = encoder(norm_first=norm_first, **changes)
    levels, text = neck_maps(), text_features()
    padding = no_padding()
    padding[0, :, 32:] = True  # the right half of the first image
    padding[1, 32:] = True
    clean = model(levels, text, padding)
    for level in levels:
        level[0, :, :, (level.shape[3] + 1) // 2 :] = 1e3
        level[1, :, (level.shape[2] + 1) // 2 :] = -1e3
    text.tokens[0, 5:] = 1e3
    dirty = model(levels, text, padding)
    assert torch.allclose(clean.reg, dirty.reg, atol=1e-5)
    assert torch.allclose(clean.text[0, :5], dirty.text[0, :5], atol=1e-5)
    assert torch.allclose(clean.maps[0][0, :, :, :2], dirty.maps[0][0, :, :, :2], atol=1e-5)


@pytest.mark.parametrize('changes', BOTH)
def test_every_token_that_is_no_padding_matters(changes):
    model = encoder(**changes)
    levels, text = neck_maps(), text_features()
    inputs = [x.requires_grad_() for x in levels], text.tokens.requires_grad_()
    model(levels, text, no_padding()).reg.square().sum().backward()
    assert [x.grad is not None and x.grad.abs().sum(1).all().item() for x in inputs[0]] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert inputs[1].grad.abs().sum(-1).bool().equal(~text.padding_mask)


@pytest.mark.parametrize('changes', BOTH)
def test_places_are_told_apart(changes):
    model = encoder(**changes)
    level = neck_maps()
    mirrored = [x.flip(-1) for x in level]
    text = text_features()
    assert not torch.allclose(model(level, text, no_padding()).reg, model(mirrored, text, no_padding()).reg, atol=1e-4)


def codes_by_hand(height, width, d):
    """[height, width, d]: rows in the first half, columns in the second; sine and cosine take turns."""
    code = torch.empty(height, width, d, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            for half, value in enumerate(((y + 1) / height, (x + 1) / width)):
                for i in range(d // 2):
                    angle = value * 2 * math.pi / 10000 ** (2 * (i // 2) / (d // 2))
                    code[y, x, half * d // 2 + i] = (math.sin, math.cos)[i % 2](angle)
    return code.float()


@pytest.mark.parametrize('changes', BOTH)
def test_place_in_image_begins_as_nothing(changes):
    plain, placed = encoder(**changes), encoder(place_in_image=True, **changes)
    placed.load_state_dict(plain.state_dict(), strict=False)
    inputs = neck_maps(), text_features(), no_padding()
    assert torch.equal(plain(*inputs).reg, placed(*inputs).reg)


def test_place_in_image_is_where_a_token_is_within_the_image():
    model = encoder(norm_first=True, place_in_image=True)
    torch.nn.init.normal_(model.place_proj.weight)
    for layer in model.layers:
        for linear in (layer.self_attn.out_proj, layer.linear2):
            torch.nn.init.zeros_(linear.weight)
            torch.nn.init.zeros_(linear.bias)
    levels, padding = neck_maps(), torch.ones(2, CANVAS, CANVAS, dtype=torch.bool)
    padding[0, :, :32] = False  # the left half of the canvas is the image
    padding[1, 32:, 16:] = False  # three quarters of the lower half
    found = model(levels, text_features(), padding).maps[0].permute(0, 2, 3, 1)
    tokens = model.visual_proj(levels[2].permute(0, 2, 3, 1) + model.level_embed.weight[2])
    expected = model.norm(tokens[0, :, :2] + model.place_proj(codes_by_hand(4, 2, DIM)))
    assert torch.allclose(found[0, :, :2], expected, atol=1e-4)
    expected = model.norm(tokens[1, 2:, 1:] + model.place_proj(codes_by_hand(2, 3, DIM)))
    assert torch.allclose(found[1, 2:, 1:], expected, atol=1e-4)


def test_gradients_reach_every_parameter():
    model = encoder(**LEARNED, levels=(2, 3))
    out = model(neck_maps(), text_features(), no_padding())
    (out.reg.square().sum() + sum(x.pow(3).sum() for x in out.maps)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    # Only the rows of the levels in use are trained.
    assert model.level_embed.weight.grad.abs().sum(1).bool().tolist() == [False, False, True, True, False]


@pytest.mark.parametrize('norm_first', [False, True])
@pytest.mark.parametrize('changes', BOTH)
def test_the_output_after_a_layer_is_that_of_an_encoder_that_ends_there(changes, norm_first):
    model = encoder(num_layers=3, norm_first=norm_first, **changes)
    torch.nn.init.uniform_(model.layers[1].norm1.weight)
    if norm_first:
        torch.nn.init.uniform_(model.norm.weight)
    inputs = neck_maps(), text_features(), no_padding()
    outputs = model.forward_layers(*inputs)
    assert len(outputs) == 3
    for depth, found in enumerate(outputs, 1):
        shorter = encoder(num_layers=depth, norm_first=norm_first, **changes)
        kept = shorter.state_dict().keys()
        shorter.load_state_dict({key: value for key, value in model.state_dict().items() if key in kept})
        expected = shorter(*inputs)
        assert torch.equal(found.reg, expected.reg) and torch.equal(found.text, expected.text)
        assert all(torch.equal(a, b) for a, b in zip(found.maps, expected.maps))


THREE = dict(levels=(2, 3, 4), level_sizes=((40, 40), (20, 20), (10, 10)))


@pytest.mark.parametrize('position', ['learned', 'sine'])
def test_stride_16_as_well_at_full_size(position):
    """Canvas 640: every token returns to its place, its level's embedding added, as with two levels."""
    model = encoder(norm_first=True, position=position, **THREE)
    for layer in model.layers:
        for linear in (layer.self_attn.out_proj, layer.linear2):
            torch.nn.init.zeros_(linear.weight)
            torch.nn.init.zeros_(linear.bias)
    levels = neck_maps(batch=1, canvas=640)
    out = model(levels, text_features(batch=1), no_padding(batch=1, canvas=640))
    assert [tuple(x.shape[-2:]) for x in out.maps] == [(40, 40), (20, 20), (10, 10)]
    for i, x in zip((2, 3, 4), out.maps):
        tokens = levels[i].flatten(2).transpose(1, 2) + model.level_embed.weight[i]
        expected = model.norm(model.visual_proj(tokens))
        assert torch.allclose(x.flatten(2).transpose(1, 2), expected, atol=1e-5)


@pytest.mark.parametrize('position', ['learned', 'sine'])
def test_every_parameter_is_trained_with_three_levels(position):
    model = encoder(levels=(2, 3, 4), level_sizes=((4, 4), (2, 2), (1, 1)), position=position)
    out = model(neck_maps(), text_features(), no_padding())
    (out.reg.square().sum() + sum(x.pow(3).sum() for x in out.maps)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert model.level_embed.weight.grad.abs().sum(1).bool().tolist() == [False, False, True, True, True]


def test_learned_positions_of_two_levels_do_not_fit_three():
    model = encoder(position='learned', **THREE)
    two = encoder(position='learned', levels=(3, 4), level_sizes=((20, 20), (10, 10)))
    states = [{f'head.encoder.{key}': value for key, value in m.state_dict().items()} for m in (two, model)]
    message = r'^head.encoder.position.weight is \[509, 16\] in the file and \[2109, 16\] in the model$'
    with pytest.raises(CheckpointError, match=message):
        check_fit(*states, required=())
    fit = check_fit(*states, required=(), allow=('head.encoder.position.',))
    assert not fit.mismatched and not fit.missing


def test_sine_positions_take_any_canvas():
    model = encoder()
    for canvas in (32, 64, 128):
        out = model([*neck_maps(canvas=canvas)[:4], None], text_features(), no_padding(canvas=canvas))
        assert out.maps[0].shape[-1] == canvas // 16


def test_learned_positions_say_which_canvas_they_need():
    with pytest.raises(
        ValueError, match=r'maps of levels \(2, 3\) are \[\(8, 8\), \(4, 4\)\], level_sizes says .*sine'
    ):
        encoder(**LEARNED)(neck_maps(canvas=128), text_features(), no_padding(canvas=128))


def test_learned_positions_have_one_row_per_slot():
    assert encoder(**LEARNED).position.weight.shape == (1 + NUM_TOKENS + 16 + 4, DIM)
    assert encoder().position.weight.shape == (1 + NUM_TOKENS, DIM)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(position='none'), r"position is 'learned' or 'sine', not 'none'"),
        (dict(levels=(3, 5)), r'levels=\(3, 5\) must name one or more'),
        (dict(levels=()), r'levels=\(\) must name one or more'),
        (dict(position='learned', level_sizes=((4, 4),)), r'level_sizes=\(\(4, 4\),\) must give one'),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        encoder(**changes)


def test_another_number_of_text_tokens_is_refused():
    with pytest.raises(ValueError, match=r'gives 8 tokens \(its max_length\), num_text_tokens is 20'):
        encoder(num_text_tokens=20)(neck_maps(), text_features(), no_padding())


def test_the_published_size():
    model = MODELS.build(dict(type='VisualLinguisticEncoder'))
    assert model.position.weight.shape == (1 + 20 + 400 + 100, 256) and len(model.layers) == 6
    assert model.text_proj.in_features == 768 and model.level_embed.weight.shape == (5, 256)


def test_pretrained_weights_survive_init_weights(tmp_path):
    donor = encoder()
    torch.save(donor.state_dict(), tmp_path / 'encoder.pth')
    torch.manual_seed(5)
    model = MODELS.build(encoder_config(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'encoder.pth'))))
    model.init_weights()
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in donor.state_dict().items())


def test_text_dim_is_projected():
    assert encoder().text_proj.weight.shape == (DIM, TEXT_DIM)


@pytest.mark.parametrize('norm_first', [False, True])
def test_a_sequence_in_half_precision_is_about_as_exact_as_autocast(norm_first):
    inputs = [x * 3 for x in neck_maps(4)], text_features(4), no_padding(4)
    plain, half = (encoder(num_layers=4, norm_first=norm_first, half_residual=half) for half in (False, True))
    exact = torch.cat([x.flatten(1) for x in plain(*inputs).maps], dim=1)
    assert torch.equal(half(*inputs).reg, plain(*inputs).reg)  # without autocast it changes nothing
    errors, seen = [], []
    half.layers[0].linear1.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    for model in (plain, half):
        with torch.autocast('cpu', torch.bfloat16):
            out = torch.cat([x.float().flatten(1) for x in model(*inputs).maps], dim=1)
        errors.append((out - exact).norm() / exact.norm())
    assert seen == [torch.bfloat16]
    assert errors[1] < 3 * errors[0] < 0.1

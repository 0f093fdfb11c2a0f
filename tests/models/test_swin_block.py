"""mmdet's Swin with the same weights is the reference: the same numbers, gradients and names."""

import copy

import pytest
import torch
from mmdet.models.backbones import SwinTransformer
from mmdet.models.backbones.swin import SwinBlock

from mmuniqrnet.models.layers.swin_block import SlicingPatchMerging, WindowBlock, use_window_blocks
from mmuniqrnet.models.layers.window_attention import position_bias
from mmuniqrnet.models.layers.window_layout import WindowLayout

SIZES = [(32, 32), (64, 48), (33, 47), (28, 28), (56, 84), (4, 4), (100, 36)]


def pair(window=4, **changes):
    """mmdet's Swin, and the same with our blocks; the biases are large enough to matter."""
    torch.manual_seed(0)
    options = dict(embed_dims=16, depths=(2, 3), num_heads=(2, 4), strides=(4, 2), out_indices=(0, 1))
    theirs = SwinTransformer(window_size=window, **(options | dict(drop_path_rate=0.0) | changes))
    for name, p in theirs.named_parameters():
        if 'bias' in name:
            torch.nn.init.normal_(p, std=0.5)
    ours = copy.deepcopy(theirs)
    use_window_blocks(ours)
    return theirs, ours


def run(model, images, seed=0):
    torch.manual_seed(seed)
    images = images.clone().requires_grad_()
    outs = model(images)
    weights = [torch.randn(x.shape, generator=torch.Generator().manual_seed(1)) for x in outs]
    sum((x.float() * w).sum() for x, w in zip(outs, weights)).backward()
    grads = dict(images=images.grad) | {name: p.grad for name, p in model.named_parameters()}
    return [x.detach() for x in outs], grads


def assert_same(theirs, ours, rtol=1e-3):
    for a, b in zip(theirs[0], ours[0]):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)
    for name, grad in theirs[1].items():
        assert (ours[1][name] - grad).norm() <= rtol * grad.norm() + 1e-6, name


@pytest.mark.parametrize('window', [4, 7])
@pytest.mark.parametrize('size', SIZES)
def test_same_numbers_and_gradients_as_mmdet(size, window):
    theirs, ours = pair(window)
    images = torch.randn(2, 3, *size)
    theirs.train(), ours.train()
    assert_same(run(theirs, images), run(ours, images))
    with torch.no_grad():  # another path than with gradients
        for a, b in zip(theirs(images), ours(images)):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)


def test_drop_path_draws_the_samples_that_mmdet_draws():
    theirs, ours = pair(drop_path_rate=0.5)
    theirs.train(), ours.train()
    images = torch.randn(6, 3, 32, 32)
    assert_same(run(theirs, images, seed=3), run(ours, images, seed=3))


def test_names_and_shapes_are_mmdets():
    theirs, ours = pair()
    assert [type(b) for b in ours.stages[0].blocks] == [WindowBlock, WindowBlock]
    assert type(ours.stages[0].downsample) is SlicingPatchMerging
    one, other = theirs.state_dict(), ours.state_dict()
    assert list(one) == list(other) and all(torch.equal(one[k], other[k]) for k in one)


def test_inference_before_training_and_copies():
    """What is kept between calls must serve both, and must not be copied or saved."""
    theirs, ours = pair(7)
    images = torch.randn(2, 3, 44, 36)
    theirs.train(), ours.train()
    with torch.inference_mode():
        ours(images)
    assert_same(run(theirs, images), run(copy.deepcopy(ours), images))
    for model in (theirs, ours):
        model.double()
    for a, b in zip(theirs(images.double()), ours(images.double())):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-10)


def test_trained_biases_count_at_once():
    theirs, ours = pair()
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        before = ours(images)[0]
    for model in (theirs, ours):
        for block in model.modules():
            if isinstance(block, SwinBlock):
                # .data, as averaging hooks do it, which leaves no trace in the version of a parameter
                block.attn.w_msa.relative_position_bias_table.data.add_(torch.linspace(-2, 2, 49)[:, None])
    with torch.inference_mode():
        assert not torch.allclose(before, ours(images)[0], atol=1e-2)
        torch.testing.assert_close(ours(images)[0], theirs(images)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('height, width, size, shift', [(160, 160, 7, 3), (20, 20, 7, 0), (5, 9, 4, 2), (8, 8, 4, 0)])
def test_layout_selects_what_padding_rolling_and_cutting_give(height, width, size, shift):
    layout = WindowLayout(height, width, size, shift)
    x = torch.randn(2, height * width, 3)
    windows = layout.partition(x)
    assert torch.equal(windows, layout._partition_view(x))
    assert torch.equal(layout.merge(windows), x)
    assert torch.equal(layout._merge_view(windows), x)


def test_layout_can_be_differentiated_twice():
    layout = WindowLayout(5, 6, 4, 2)
    x = torch.randn(1, 30, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: layout.merge(layout.partition(x) ** 2), x)


@pytest.mark.parametrize('half_residual', [False, True])
def test_bfloat16_is_as_close_to_float32_as_mmdets_blocks_are(half_residual):
    theirs, ours = pair(7, embed_dims=32, depths=(2, 6))
    images = torch.randn(2, 3, 88, 64)
    exact, exact_grads = run(theirs, images)
    theirs.zero_grad()
    use_window_blocks(ours, half_residual)
    errors = []
    for model in (theirs, ours):
        with torch.autocast('cpu', torch.bfloat16):
            outs, grads = run(model, images)
        errors.append([(x.float() - e).norm() / e.norm() for x, e in zip(outs, exact)])
        errors[-1].append((grads['images'] - exact_grads['images']).norm() / exact_grads['images'].norm())
    assert all(b < (3 if half_residual else 1.5) * a for a, b in zip(*errors)), errors


@pytest.mark.slow
@pytest.mark.parametrize('grad', [False, True])
def test_compiles_without_graph_breaks(grad):
    theirs, ours = pair(4, depths=(2, 2))
    images = torch.randn(2, 3, 36, 28)
    compiled = torch.compile(ours, fullgraph=True)
    with torch.set_grad_enabled(grad):
        for a, b in zip(theirs(images), compiled(images)):
            torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('half_residual', [False, True])
def test_drop_path_in_half_precision(half_residual):
    _, ours = pair(drop_path_rate=0.5)
    use_window_blocks(ours, half_residual)
    ours.train()  # mmdet's returns None
    with torch.autocast('cpu', torch.bfloat16):
        _, grads = run(ours, torch.randn(4, 3, 32, 32))
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())


def test_shapes_on_the_meta_device():
    """As model summaries and checks of large configs use it."""
    theirs, ours = pair(7)
    images = torch.randn(2, 3, 44, 36)
    expected = [x.shape for x in theirs(images)]
    assert [x.shape for x in ours.to('meta')(images.to('meta'))] == expected


def test_tokens_that_are_no_neighbours_have_weight_zero():
    """Weights that are denormal numbers, as of a logit of -100, slow a CPU down."""
    block = pair()[1].stages[0].blocks[1]
    layout = WindowLayout(8, 8, block.attn.window_size, block.attn.shift_size)
    weights = position_bias(block.attn.w_msa, layout, torch.float32)[..., : block.attn.window_size**2].softmax(-1)
    assert layout.shift and (weights == 0).any()
    assert (weights[weights > 0] >= torch.finfo(torch.float32).tiny).all()

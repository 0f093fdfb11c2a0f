import math

import pytest
import torch
from mmdet.models.backbones.swin import PatchMerging, swin_converter
from safetensors.torch import load_file
from torch import nn
from transformers import SwinBackbone, SwinConfig, SwinForImageClassification

from mmuniqrnet.checkpoints.file_io import CheckpointError
from mmuniqrnet.checkpoints.swin import (
    SWIN,
    detect_layout,
    resize_table,
    resize_windows,
    swin_settings,
    to_mmdet,
    to_original_order,
    to_unfold_order,
)
from mmuniqrnet.models import QRNetSwin

SETTINGS = dict(embed_dims=8, depths=(1, 2, 1, 1), num_heads=(1, 2, 2, 4), window_size=4)


def swin_state(seed: int = 0, **changes) -> dict[str, torch.Tensor]:
    """Random weights of a small Swin without gates, in mmdet's layout."""
    torch.manual_seed(seed)
    model = QRNetSwin(channel_gate=False, spatial_gate=False, **SETTINGS | changes)
    return {
        name: torch.randn_like(value) if value.is_floating_point() else value.clone()
        for name, value in model.state_dict().items()
    }


def original_state(seed: int = 0, **changes) -> dict[str, torch.Tensor]:
    """The same in the original layout, as the detection code saves it."""
    return {SWIN.backward(name): to_original_order(name, value) for name, value in swin_state(seed, **changes).items()}


def timm_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """The same as timm >= 0.9 saves it: merging at the start of a stage, no norms of outputs, a classifier's end."""
    out = {}
    for name, value in original_state(seed).items():
        pieces = name.split('.')
        if pieces[0] == 'layers' and pieces[2] == 'downsample':
            pieces[1] = str(int(pieces[1]) + 1)
        if not name.startswith('norm'):
            out['.'.join(pieces)] = value
    return out | {'norm.weight': torch.ones(64), 'head.fc.weight': torch.ones(10, 64)}


class OriginalPatchMerging(nn.Module):
    """As in the Swin paper's code: four strided slices, side by side, then norm and a linear layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [B, H, W, C]
        slices = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduction(self.norm(torch.cat(slices, dim=-1)))


@pytest.mark.parametrize('channels, size', [(6, (4, 4)), (5, (2, 6))])
def test_merging_gives_the_same_outputs_in_both_layouts(channels, size):
    torch.manual_seed(0)
    theirs = OriginalPatchMerging(channels)
    nn.init.normal_(theirs.norm.weight)
    nn.init.normal_(theirs.norm.bias)
    ours = PatchMerging(channels, 2 * channels)
    state = theirs.state_dict()
    ours.load_state_dict({name: to_unfold_order(f'downsample.{name}', value) for name, value in state.items()})
    x = torch.randn(2, *size, channels)
    out, shape = ours(x.flatten(1, 2), size)
    torch.testing.assert_close(out, theirs(x).flatten(1, 2))
    assert shape == (size[0] // 2, size[1] // 2)
    # Without the permutation they would differ.
    ours.load_state_dict(theirs.state_dict())
    assert not torch.allclose(ours(x.flatten(1, 2), size)[0], theirs(x).flatten(1, 2), atol=1e-2)


@pytest.mark.parametrize('shape', [(12,), (5, 12)])
def test_the_order_goes_back(shape):
    value = torch.randn(shape)
    there = to_unfold_order('stages.0.downsample.norm.weight', value)
    assert not torch.equal(there, value)
    assert torch.equal(to_original_order('stages.0.downsample.norm.weight', there), value)
    assert to_unfold_order('stages.0.blocks.0.norm1.weight', value) is value


def test_the_original_layout_is_read_as_mmdet_reads_it():
    state = original_state()
    ours = to_mmdet(state)
    assert not ours.left_out and not ours.unexpected
    theirs = swin_converter(state)
    assert {f'backbone.{name}' for name in ours.state} == set(theirs)
    assert all(torch.equal(value, theirs[f'backbone.{name}']) for name, value in ours.state.items())


def test_each_layout_gives_the_same_weights():
    wanted = swin_state()
    for state in (wanted, original_state(), timm_state()):
        got = to_mmdet(state).state
        assert all(torch.equal(value, wanted[name]) for name, value in got.items())
        missing = set(wanted) - set(got)
        assert not missing or all(name.startswith('norm') for name in missing)


def test_layouts_are_told_by_the_names():
    assert detect_layout(swin_state()) == 'mmdet'
    assert detect_layout(original_state()) == 'original'
    assert detect_layout(timm_state()) == 'timm'
    assert detect_layout({'conv1.weight', 'layer1.0.conv1.weight'}) is None


def test_another_layout_than_said_is_refused():
    with pytest.raises(CheckpointError, match="in mmdet's layout, not in original's"):
        to_mmdet(swin_state(), 'original')
    with pytest.raises(CheckpointError, match='no weights of Swin.*conv1.weight'):
        to_mmdet({'conv1.weight': torch.ones(1)})


def test_a_classifiers_end_is_left_out_and_the_unknown_is_named():
    extra = {'norm.weight': torch.ones(1), 'head.bias': torch.ones(1), 'layers.0.blocks.1.attn_mask': torch.ones(1)}
    converted = to_mmdet(original_state() | extra | {'layers.0.blocks.0.attn2': torch.ones(1)})
    assert set(converted.left_out) == set(extra)
    assert converted.unexpected == ['layers.0.blocks.0.attn2']


def test_sizes_are_read_off_the_weights():
    settings = swin_settings(swin_state(window_size=7, mlp_ratio=2))
    assert settings == dict(
        SETTINGS,
        window_size=7,
        mlp_ratio=2,
        patch_size=4,
        strides=(4, 2, 2, 2),
        out_indices=(0, 1, 2, 3),
        qkv_bias=True,
    )
    with pytest.raises(CheckpointError, match='no blocks of stage 3'):
        swin_settings({name: value for name, value in swin_state().items() if not name.startswith('stages.3.')})


def cubic_matrix(old: int, new: int) -> torch.Tensor:
    """[new, old]: cubic convolution (a = -0.75) at pixel centres, the border repeated."""
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for target in range(new):
        place = (target + 0.5) * old / new - 0.5
        for source in range(math.floor(place) - 1, math.floor(place) + 3):
            d = abs(place - source)
            near, far = 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[target, min(max(source, 0), old - 1)] += near if d <= 1 else far
    return matrix


@pytest.mark.parametrize('old, new', [(7, 12), (12, 7)])
def test_bias_tables_are_interpolated_by_place_and_head(old, new):
    torch.manual_seed(0)
    old, new = 2 * old - 1, 2 * new - 1
    table = torch.randn(old * old, 3)
    rows = cubic_matrix(old, new)
    wanted = torch.stack([rows @ head.unflatten(0, (old, old)) @ rows.T for head in table.double().T], dim=-1)
    got = resize_table(table, new)
    torch.testing.assert_close(got.double(), wanted.flatten(0, 1), atol=1e-5, rtol=0)
    # No offset stays no offset: both sides are odd.
    torch.testing.assert_close(got[new * new // 2], table[old * old // 2])


def test_only_windows_are_resized():
    narrow, wide = swin_state(window_size=7), swin_state(seed=1, window_size=12)
    state, resized = resize_windows(narrow, wide)
    assert len(resized) == sum(SETTINGS['depths'])
    for name, value in state.items():
        assert value.shape == wide[name].shape
        if name.endswith('relative_position_index'):
            assert torch.equal(value, wide[name])
        elif name not in resized:
            assert value is narrow[name]


def test_another_number_of_heads_is_not_made_to_fit():
    state, resized = resize_windows(swin_state(), swin_state(num_heads=(2, 2, 2, 4), window_size=7))
    assert 'stages.0.blocks.0.attn.w_msa.relative_position_bias_table' not in resized
    assert state['stages.0.blocks.0.attn.w_msa.relative_position_bias_table'].shape == (49, 1)


def test_timms_own_model_gives_the_same_maps():
    timm = pytest.importorskip('timm.models.swin_transformer', exc_type=ImportError)
    torch.manual_seed(0)
    theirs = timm.SwinTransformer(
        img_size=128, patch_size=4, window_size=4, embed_dim=8, depths=(1, 2, 1, 1), num_heads=(1, 2, 2, 4)
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = QRNetSwin(channel_gate=False, spatial_gate=False, out_indices=(3,), **SETTINGS).eval()
    state = to_mmdet(theirs.state_dict())
    assert not state.unexpected
    incompatible = ours.load_state_dict(
        state.state | {'norm3.weight': theirs.norm.weight, 'norm3.bias': theirs.norm.bias}, strict=False
    )
    assert not incompatible.unexpected_keys
    assert all(name.endswith('relative_position_index') for name in incompatible.missing_keys)
    images = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(
            ours(images)[0].permute(0, 2, 3, 1), theirs.forward_features(images), atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize('kind', ['files', 'memory'])
def test_transformers_layout_gives_transformers_outputs(kind, tmp_path):
    config = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 2, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    )
    torch.manual_seed(0)
    theirs = SwinBackbone(config).eval()
    for value in theirs.parameters():
        nn.init.normal_(value, 0.5 if value.dim() == 1 else 0.0, 0.2)
    if kind == 'files':  # transformers >= 5 writes other names than its models have
        theirs.save_pretrained(tmp_path)
        state = load_file(tmp_path / 'model.safetensors')
    else:
        state = theirs.state_dict()
    assert detect_layout(state) == 'transformers'
    converted = to_mmdet(state)
    assert not converted.unexpected
    ours = QRNetSwin(channel_gate=False, spatial_gate=False, **SETTINGS).eval()
    loaded = ours.load_state_dict(converted.state, strict=False)
    assert not loaded.unexpected_keys and all(key.endswith('position_index') for key in loaded.missing_keys)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for mine, its in zip(ours(images), theirs(images).feature_maps, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4)


def test_a_classifier_of_transformers_without_one_of_its_matrices(tmp_path):
    torch.manual_seed(0)
    config = SwinConfig(image_size=64, embed_dim=8, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 4], window_size=4)
    SwinForImageClassification(config).save_pretrained(tmp_path)
    state = load_file(tmp_path / 'model.safetensors')
    converted = to_mmdet(state)
    assert set(converted.left_out) == {'norm.weight', 'norm.bias', 'head.weight', 'head.bias'}
    assert not converted.unexpected and swin_settings(converted.state)['depths'] == (1, 2, 1, 1)
    del state['swin.encoder.layers.1.blocks.1.attention.self.key.weight']
    with pytest.raises(CheckpointError, match=r'layers.1.blocks.1.attn.qkv.weight are incomplete: .* only q, v'):
        to_mmdet(state)

"""Swin's weights in the layouts of its original code, timm, transformers and mmdet; ``QRNetSwin`` has mmdet's."""

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from mmuniqrnet.utils.errors import CheckpointError

from .renaming import Renaming
from .transformers_swin import is_transformers_swin, to_original

# Pairs of (original, mmdet). timm's names differ from the original ones in the stage to which patch merging belongs.
SWIN = Renaming(
    [
        ('patch_embed.proj.*', 'patch_embed.projection.*'),
        ('patch_embed.norm.*', 'patch_embed.norm.*'),
        ('layers.{i}.blocks.{j}.attn.*', 'stages.{i}.blocks.{j}.attn.w_msa.*'),
        ('layers.{i}.blocks.{j}.mlp.fc1.*', 'stages.{i}.blocks.{j}.ffn.layers.0.0.*'),
        ('layers.{i}.blocks.{j}.mlp.fc2.*', 'stages.{i}.blocks.{j}.ffn.layers.1.*'),
        ('layers.{i}.blocks.{j}.norm1.*', 'stages.{i}.blocks.{j}.norm1.*'),
        ('layers.{i}.blocks.{j}.norm2.*', 'stages.{i}.blocks.{j}.norm2.*'),
        ('layers.{i}.downsample.*', 'stages.{i}.downsample.*'),
        ('norm{i}.*', 'norm{i}.*'),
    ]
)
# A classifier's last norm and head, and shift masks, which the model computes for each image size.
IGNORED_KEYS = re.compile(r'norm\.(weight|bias)|(head|fc)\..*|.*\.attn_mask')


class Converted(NamedTuple):
    """A state dict in another layout.

    Attributes:
        state: The tensors that the other layout has, under its names.
        left_out: Tensors that the other layout does not have, by design.
        unexpected: Names that are in no table.
    """

    state: dict[str, Tensor]
    left_out: dict[str, Tensor]
    unexpected: list[str]


def detect_layout(keys: Collection[str]) -> str | None:
    """``'original'``, ``'timm'`` (>= 0.9; older had the original one), ``'transformers'`` or ``'mmdet'``.

    None if these are no names of a Swin.
    """
    keys = set(keys)
    if is_transformers_swin(keys):
        return 'transformers'
    if any(re.match(r'stages\.\d+\.blocks\.\d+\.attn\.w_msa\.qkv\.', key) for key in keys):
        return 'mmdet'
    if not any(re.match(r'layers\.\d+\.blocks\.\d+\.attn\.qkv\.', key) for key in keys):
        return None
    merging = {int(found[1]) for key in keys if (found := re.match(r'layers\.(\d+)\.downsample\.', key))}
    return 'timm' if merging and 0 not in merging else 'original'


def to_mmdet(state: Mapping[str, Tensor], layout: str = 'auto') -> Converted:
    """Convert a Swin's weights (names without ``backbone.``) to mmdet's layout.

    Args:
        state: The weights.
        layout: ``'original'``, ``'timm'``, ``'transformers'``, ``'mmdet'``, or ``'auto'`` to detect it.

    Raises:
        CheckpointError: If these are not weights of a Swin, or not in the given layout.
    """
    found = detect_layout(state)
    if found is None:
        raise CheckpointError(
            f'these are no weights of Swin in any known layout (original, timm, transformers, mmdet); the first '
            f'names are {", ".join(list(state)[:3]) or "none"}.'
        )
    if layout not in ('auto', found):
        raise CheckpointError(
            f"the weights are in {found}'s layout, not in {layout}'s; layout='auto' (convert_weights=False in a "
            'backbone) detects the layout from the names.'
        )
    if found == 'transformers':
        state = to_original(state)
    out, left_out, unexpected = {}, {}, []
    for key, value in state.items():
        if IGNORED_KEYS.fullmatch(key):
            left_out[key] = value
            continue
        if found == 'mmdet':
            out[key] = value
            continue
        name = SWIN.forward(_end_of_stage(key) if found == 'timm' else key)
        if name is None:
            unexpected.append(key)
        else:
            out[name] = to_unfold_order(name, value)
    return Converted(out, left_out, unexpected)


def _end_of_stage(key: str) -> str:
    """timm's patch merging is at the start of a stage; the other layouts have it at the end of the previous stage."""
    return re.sub(r'^layers\.(\d+)\.downsample\.', lambda m: f'layers.{int(m[1]) - 1}.downsample.', key)


def to_unfold_order(name: str, value: Tensor) -> Tensor:
    """Reorder the last dimension of patch merging's tensors for mmdet's ``nn.Unfold``; return other tensors unchanged.

    The original code concatenates four neighbours, (row, column) = (0, 0), (1, 0), (0, 1), (1, 1), each with all its
    channels. ``nn.Unfold`` gives for each channel its four neighbours, row by row.
    """
    if not re.search(r'downsample\.(reduction|norm)\.', name):
        return value
    return value.unflatten(-1, (2, 2, -1)).movedim(-1, -3).transpose(-1, -2).flatten(-3).contiguous()


def to_original_order(name: str, value: Tensor) -> Tensor:
    """The inverse of :func:`to_unfold_order`."""
    if not re.search(r'downsample\.(reduction|norm)\.', name):
        return value
    return value.unflatten(-1, (-1, 2, 2)).transpose(-1, -2).movedim(-3, -1).flatten(-3).contiguous()


def resize_windows(state: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Adapt weights to the window size of another model.

    Bias tables [(2w - 1)^2, heads] are interpolated (bicubic, as in the original code); index buffers, which depend on
    the window size only, are copied from the model. Tables with another number of heads are not changed.

    Args:
        state: Weights in mmdet's layout.
        reference: The state dict of the model that will load them.

    Returns:
        The weights, and the names of the bias tables that were interpolated.
    """
    out, resized = dict(state), []
    for key, value in state.items():
        target = reference.get(key)
        if target is None or target.shape == value.shape:
            continue
        if key.endswith('relative_position_index'):
            out[key] = target.clone()
        elif key.endswith('relative_position_bias_table') and value.shape[1:] == target.shape[1:]:
            out[key] = resize_table(value, round(len(target) ** 0.5))
            resized.append(key)
    return out, resized


def resize_table(table: Tensor, side: int) -> Tensor:
    """Interpolate a bias table [s * s, heads] to [side * side, heads]."""
    square = table.T.unflatten(1, (round(len(table) ** 0.5), -1))[None].float()  # [1, heads, s, s]
    square = F.interpolate(square, size=(side, side), mode='bicubic', align_corners=False)
    return square[0].flatten(1).T.to(table.dtype).contiguous()


def swin_settings(state: Mapping[str, Tensor]) -> dict:
    """The arguments of a ``QRNetSwin`` of the same size as these weights, which are in mmdet's layout.

    A few tensors may be missing: the published setting is used if one cannot be inferred.

    Raises:
        CheckpointError: If a stage has no blocks, or patch embedding or all bias tables are missing.
    """
    blocks: dict[int, int] = {}
    for key in state:
        if found := re.match(r'stages\.(\d+)\.blocks\.(\d+)\.', key):
            blocks[int(found[1])] = max(blocks.get(int(found[1]), 0), int(found[2]) + 1)
    stages = range(max(4, 1 + max(blocks, default=0)))
    absent = [i for i in stages if i not in blocks]
    if absent:
        raise CheckpointError(
            f'the weights have no blocks of stage {", ".join(map(str, absent))} of Swin; a Swin has at least 4 stages.'
        )
    tables = [_first(state, f'stages.{i}.blocks.*.attn.w_msa.relative_position_bias_table') for i in stages]
    windows = [len(table) for table in tables if table is not None]
    patch = _first(state, 'patch_embed.projection.weight')
    width = next(
        (
            value
            for name in ('patch_embed.projection.bias', 'patch_embed.norm.weight', 'norm0.weight')
            if (value := state.get(name)) is not None
        ),
        patch,
    )
    hidden = _first(state, 'stages.*.blocks.*.ffn.layers.0.0.weight')
    if width is None or not windows:
        raise CheckpointError('the weights of Swin are incomplete: they have no patch embedding or no bias tables.')
    patch_size = 4 if patch is None else patch.shape[-1]
    return dict(
        embed_dims=len(width),
        patch_size=patch_size,
        strides=(patch_size, *(2 for _ in stages[1:])),
        depths=tuple(blocks[i] for i in stages),
        num_heads=tuple(1 if table is None else table.shape[1] for table in tables),
        window_size=(round(windows[0] ** 0.5) + 1) // 2,
        mlp_ratio=4 if hidden is None else hidden.shape[0] // hidden.shape[1],
        out_indices=tuple(stages),
        qkv_bias=any(key.endswith('w_msa.qkv.bias') for key in state),
    )


def _first(state: Mapping[str, Tensor], pattern: str) -> Tensor | None:
    return next((value for key, value in state.items() if fnmatchcase(key, pattern)), None)

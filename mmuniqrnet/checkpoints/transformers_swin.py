"""Swin's weights in the layout of the transformers library, as the Hugging Face hub has them."""

import re
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from mmuniqrnet.utils.errors import CheckpointError

from .renaming import Renaming

# Pairs of (transformers, original). Since version 5 models in memory have other names than the files; both are read.
TRANSFORMERS_SWIN = Renaming(
    [
        ('embeddings.patch_embeddings.projection.*', 'patch_embed.proj.*'),
        ('embeddings.norm.*', 'patch_embed.norm.*'),
        ('encoder.layers.{i}.blocks.{j}.layernorm_before.*', 'layers.{i}.blocks.{j}.norm1.*'),
        ('encoder.layers.{i}.blocks.{j}.layernorm_after.*', 'layers.{i}.blocks.{j}.norm2.*'),
        ('encoder.layers.{i}.blocks.{j}.attention.output.dense.*', 'layers.{i}.blocks.{j}.attn.proj.*'),
        ('encoder.layers.{i}.blocks.{j}.attention.o_proj.*', 'layers.{i}.blocks.{j}.attn.proj.*'),
        ('encoder.layers.{i}.blocks.{j}.attention.self.relative_*', 'layers.{i}.blocks.{j}.attn.relative_*'),
        (
            'encoder.layers.{i}.blocks.{j}.attention.relative_position_bias.relative_*',
            'layers.{i}.blocks.{j}.attn.relative_*',
        ),
        ('encoder.layers.{i}.blocks.{j}.intermediate.dense.*', 'layers.{i}.blocks.{j}.mlp.fc1.*'),
        ('encoder.layers.{i}.blocks.{j}.mlp.fc1.*', 'layers.{i}.blocks.{j}.mlp.fc1.*'),
        ('encoder.layers.{i}.blocks.{j}.output.dense.*', 'layers.{i}.blocks.{j}.mlp.fc2.*'),
        ('encoder.layers.{i}.blocks.{j}.mlp.fc2.*', 'layers.{i}.blocks.{j}.mlp.fc2.*'),
        ('encoder.layers.{i}.downsample.*', 'layers.{i}.downsample.*'),
        # a classifier's end, which the converter leaves out
        ('layernorm.*', 'norm.*'),
        ('classifier.*', 'head.*'),
    ]
)
QKV = re.compile(
    r'encoder\.layers\.(?P<stage>\d+)\.blocks\.(?P<block>\d+)\.attention\.'
    r'(?:self\.(?P<old>query|key|value)|(?P<new>[qkv])_proj)\.(?P<kind>weight|bias)'
)
# Norms of the maps of transformers' SwinBackbone, numbered from 1.
OUTPUT_NORM = re.compile(r'hidden_states_norms\.stage(\d+)\.(weight|bias)')


def is_transformers_swin(keys: Collection[str]) -> bool:
    """Whether these are names of a Swin of transformers, with or without ``swin.`` before them."""
    return any(QKV.fullmatch(key.removeprefix('swin.')) for key in keys)


def to_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in the layout of Swin's original code: queries, keys and values are joined to one matrix.

    Patch merging joins the four neighbours in the same order in both. Names that are in no table are kept.

    Raises:
        CheckpointError: A block lacks its query, key or value.
    """
    out: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        name = key.removeprefix('swin.')
        if found := QKV.fullmatch(name):
            joined = f'layers.{found["stage"]}.blocks.{found["block"]}.attn.qkv.{found["kind"]}'
            parts.setdefault(joined, {})[found['new'] or found['old'][0]] = value
        elif found := OUTPUT_NORM.fullmatch(name):
            out[f'norm{int(found[1]) - 1}.{found[2]}'] = value
        else:
            out[TRANSFORMERS_SWIN.forward(name) or key] = value
    for joined, values in parts.items():
        if set(values) != set('qkv'):
            raise CheckpointError(
                f'the weights of {joined} are incomplete: there are only {", ".join(sorted(values))}.'
            )
        out[joined] = torch.cat([values[one] for one in 'qkv'])
    return out

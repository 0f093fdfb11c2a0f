"""The tensors of a model of given sizes, to compare a checkpoint with if there is no config."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from mmuniqrnet.checkpoints.swin import swin_settings
from mmuniqrnet.models import (
    BoxBranch,
    MaskBranch,
    PixelGuidance,
    QRNetSwin,
    QueryAwareFusion,
    ScoreBranch,
    VisualLinguisticEncoder,
)


def uniqrnet_tensors(state: Mapping[str, Tensor], additions: bool = False) -> dict[str, Tensor]:
    """The tensors of a ``UniQRNet`` with the same sizes as these weights.

    A size that can't be determined from the weights is the published one.

    Args:
        state: Weights of a ``UniQRNet``.
        additions: Whether to include the parts that UniQRNet adds to QRNet (mask branch, score, guidance).

    Raises:
        CheckpointError: If the backbone's sizes can't be determined.
    """
    sizes = swin_settings(
        {name.removeprefix('backbone.'): value for name, value in state.items() if name.startswith('backbone.')}
    )
    channels = [sizes['embed_dims'] * 2**i for i in range(len(sizes['depths']))]
    gates = gate_settings(state)
    neck_dim = _size(state, r'neck\.lateral_convs\.\d+\.conv\.weight', 0, 256)
    embed_dims = _size(state, r'head\.encoder\.(text_proj|visual_proj)\.weight', 0, 256)
    text_dim = _size(state, r'head\.encoder\.text_proj\.weight', 1, 0) or _size(
        state, r'backbone\.gates\..*\.decoder\.weight', 1, 768
    )
    model = nn.Module()
    model.backbone = QRNetSwin(text_dim=text_dim, **gates, **sizes)
    model.neck = QueryAwareFusion(channels, neck_dim, text_dim, **gates)
    model.head = nn.Module()
    model.head.encoder = VisualLinguisticEncoder(
        neck_dim,
        text_dim,
        embed_dims,
        num_layers=_count(state, r'head\.encoder\.layers\.(\d+)\.', 6),
        num_heads=1,
        feedforward_dims=_size(state, r'head\.encoder\.layers\.\d+\.linear1\.weight', 0, 2048),
        num_levels=_size(state, r'head\.encoder\.level_embed\.weight', 0, 5),
        # The weights do not show how the positions are divided between text and levels, so all are given to one level.
        num_text_tokens=0,
        levels=(0,),
        level_sizes=((1, _size(state, r'head\.encoder\.position\.weight', 0, 521) - 1),),
    )
    sees_reference = any(name.startswith('head.box_branch.references.') for name in state)
    model.head.box_branch = BoxBranch(embed_dims, sees_reference=sees_reference)
    if additions:
        model.head.mask_branch = MaskBranch(embed_dims, neck_dim)
        model.head.score_branch = ScoreBranch(embed_dims)
        model.head.pixel_guidance = PixelGuidance(channels, neck_dim, text_dim)
    reference = model.state_dict()
    if any(name.startswith('text_encoder.') for name in state):
        reference |= bert_tensors(state)
    return reference


def gate_settings(state: Mapping[str, Tensor]) -> dict:
    """The arguments that give the QD-ATTs of backbone and neck the sizes of these weights."""
    gates = {
        name.removeprefix('backbone.gates.'): value
        for name, value in state.items()
        if re.fullmatch(r'backbone\.gates\..*\.V', name)
    }
    settings: dict[str, int | bool] = {
        f'{kind}_gate': any(f'.{kind}.' in name for name in gates) for kind in ('channel', 'spatial')
    }
    for stage in sorted({name.split('.')[0] for name in gates}):
        squeeze, excite = (gates.get(f'{stage}.channel.{layer}.V') for layer in ('squeeze', 'excite'))
        if squeeze is not None and excite is not None:
            # The last stage, which is the widest, overwrites the others: in narrower stages, rounding has more effect.
            settings['gate_reduction'] = excite.shape[1] // squeeze.shape[1]
    for value in gates.values():
        settings['gate_rank'] = len(value)
    return settings


def bert_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a BERT with the sizes of these weights' text encoder, without the pooler."""
    model = r'text_encoder\.model\.'
    embeddings, layer = rf'{model}embeddings\.', rf'{model}encoder\.layer\.'
    config = BertConfig(
        vocab_size=_size(state, rf'{embeddings}word_embeddings\.weight', 0, 30522),
        hidden_size=_size(state, rf'{embeddings}\w+_embeddings\.weight', 1, 768),
        num_attention_heads=1,
        num_hidden_layers=_count(state, rf'{layer}(\d+)\.', 12),
        intermediate_size=_size(state, rf'{layer}\d+\.intermediate\.dense\.weight', 0, 3072),
        max_position_embeddings=_size(state, rf'{embeddings}position_embeddings\.weight', 0, 512),
        type_vocab_size=_size(state, rf'{embeddings}token_type_embeddings\.weight', 0, 2),
    )
    with torch.device('meta'):
        bert = BertModel(config, add_pooling_layer=False)
    return {f'text_encoder.model.{name}': value for name, value in bert.state_dict().items()}


def _size(state: Mapping[str, Tensor], pattern: str, dim: int, default: int) -> int:
    return next((value.shape[dim] for name, value in state.items() if re.fullmatch(pattern, name)), default)


def _count(state: Mapping[str, Tensor], pattern: str, default: int) -> int:
    numbers = [int(found[1]) for name in state if (found := re.match(pattern, name))]
    return 1 + max(numbers) if numbers else default

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.layers import SinePositionalEncoding
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmuniqrnet.models.layers import autocast_dtype, layer_norm
from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures import TextFeatures
from mmuniqrnet.structures.maps import require_channels
from mmuniqrnet.utils.errors import UserError

# (height, width) of each map.
Sizes = tuple[tuple[int, int], ...]


class EncoderOutput(NamedTuple):
    """The joint sequence after a layer, split into its parts.

    Attributes:
        reg: [B, d], the [REG] token.
        text: [B, L, d], the text tokens.
        maps: One map [B, d, h, w] per visual level, finest first.
    """

    reg: Tensor
    text: Tensor
    maps: list[Tensor]


class EncoderLayer(nn.Module):
    """One transformer layer; positions are added to queries and keys, not to values (as in DETR).

    Args:
        embed_dims: d.
        num_heads: Attention heads.
        feedforward_dims: Hidden width of the feed-forward part.
        dropout: Dropout rate.
        norm_first: Normalise before each part (pre-norm) instead of after it (as published).
        half_residual: Keep the sequence between the parts in autocast's dtype under autocast.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_dims: int,
        dropout: float,
        norm_first: bool,
        half_residual: bool = False,
    ) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(embed_dims, num_heads, dropout=dropout, batch_first=True)
        self.linear1 = nn.Linear(embed_dims, feedforward_dims)
        self.linear2 = nn.Linear(feedforward_dims, embed_dims)
        self.norm1 = nn.LayerNorm(embed_dims)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.dropout = nn.Dropout(dropout)
        self.norm_first = norm_first
        self.half_residual = half_residual

    def attend(self, x: Tensor, position: Tensor, padding_mask: Tensor) -> Tensor:
        # As nn.MultiheadAttention computes it, but queries and keys in one product, and without its transposed copies.
        attention, d = self.self_attn, x.shape[-1]
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        query_key = F.linear(x + position, weight[: 2 * d], bias[: 2 * d]).unflatten(-1, (2, attention.num_heads, -1))
        value = F.linear(x, weight[2 * d :], bias[2 * d :]).unflatten(-1, (attention.num_heads, -1))
        query, key = query_key.transpose(1, 3).unbind(2)  # [B, heads, N, d / heads] each
        out = F.scaled_dot_product_attention(
            query,
            key,
            value.transpose(1, 2),
            attn_mask=~padding_mask[:, None, None],
            dropout_p=attention.dropout if self.training else 0.0,
        )
        return self.dropout(attention.out_proj(out.transpose(1, 2).flatten(2)))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x)))))

    def forward(self, x: Tensor, position: Tensor, padding_mask: Tensor) -> Tensor:
        """x [B, N, d], position [B or 1, N, d], padding_mask [B, N] (True = padding) -> [B, N, d]."""
        dtype = autocast_dtype(x) if self.half_residual else None
        if dtype is not None:
            x, position = x.to(dtype), position.to(dtype)
        if self.norm_first:
            x = x + self.attend(self._normalised(self.norm1, x), position, padding_mask)
            return x + self.feed_forward(self._normalised(self.norm2, x))
        x = self._normalised(self.norm1, x + self.attend(x, position, padding_mask))
        return self._normalised(self.norm2, x + self.feed_forward(x))

    def _normalised(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        return layer_norm(norm, x) if self.half_residual else norm(x)


@MODELS.register_module()
class VisualLinguisticEncoder(BaseModule):
    """Combines [REG], text tokens and visual tokens in one transformer (TransVG, section 3.2; QRNet, section 3.4).

    Args:
        in_channels: Channels of the neck's maps.
        text_dim: D of the text tokens.
        embed_dims: d, the width of the sequence.
        num_layers: Transformer layers.
        num_heads: Attention heads.
        feedforward_dims: Hidden width of the feed-forward parts.
        dropout: Dropout rate.
        num_text_tokens: L, the text encoder's ``max_length``.
        num_levels: Number of maps of the neck, each of which has a level embedding.
        levels: The maps that become tokens, finest first; in the paper the two coarsest, of strides 32 and 64. With
            stride 16 as well, ``(2, 3, 4)``, the sequence is four times as long.
        level_sizes: (height, width) of those maps, in tokens; needed for learned positions only. A canvas of 640 pixels
            has (40, 40) at stride 16.
        position: ``'learned'``: one embedding for each position of the sequence, as published, for one canvas size
            only. ``'sine'``: fixed two-dimensional codes for visual tokens and learned ones for [REG] and text.
        place_in_image: Also add to each visual token a learned projection of a two-dimensional code of its place within
            the image, without the padding of the canvas (our design). Positions as above act on queries and keys only,
            from which a token learns slowly where it is.
        norm_first: Pre-norm layers and a final norm, instead of post-norm layers as published.
        half_residual: Keep the sequence between the layers' parts in autocast's dtype under autocast, and compute their
            norms in it with sums in float32, to save memory and time. Without autocast it changes nothing.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        in_channels: int = 256,
        text_dim: int = 768,
        embed_dims: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        feedforward_dims: int = 2048,
        dropout: float = 0.1,
        num_text_tokens: int = 20,
        num_levels: int = 5,
        levels: Sequence[int] = (3, 4),
        level_sizes: Sequence[tuple[int, int]] = ((20, 20), (10, 10)),
        position: str = 'learned',
        place_in_image: bool = False,
        norm_first: bool = False,
        half_residual: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if position not in ('learned', 'sine'):
            raise UserError(f"VisualLinguisticEncoder: position is 'learned' or 'sine', not {position!r}.")
        if not levels or max(levels) >= num_levels:
            raise UserError(
                f"VisualLinguisticEncoder: levels={tuple(levels)} must name one or more of the neck's "
                f'{num_levels} levels, 0 to {num_levels - 1}.'
            )
        self.levels = tuple(levels)
        self.num_text_tokens = num_text_tokens
        self.level_sizes = tuple(tuple(size) for size in level_sizes) if position == 'learned' else None
        if self.level_sizes is not None and len(self.level_sizes) != len(self.levels):
            raise UserError(
                f'VisualLinguisticEncoder: level_sizes={self.level_sizes} must give one (height, width) '
                f'for each of levels={self.levels}.'
            )
        num_slots = 1 + num_text_tokens + sum(h * w for h, w in self.level_sizes or ())

        self.reg_token = nn.Embedding(1, embed_dims)
        self.position = nn.Embedding(num_slots, embed_dims)
        self.sine = SinePositionalEncoding(embed_dims // 2, normalize=True) if position == 'sine' else None
        self.place_code = SinePositionalEncoding(embed_dims // 2, normalize=True) if place_in_image else None
        self.place_proj = nn.Linear(embed_dims, embed_dims) if place_in_image else None
        self.level_embed = nn.Embedding(num_levels, in_channels)
        self.visual_proj = nn.Linear(in_channels, embed_dims)
        self.text_proj = nn.Linear(text_dim, embed_dims)
        self.layers = ModuleList(
            EncoderLayer(embed_dims, num_heads, feedforward_dims, dropout, norm_first, half_residual)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(embed_dims) if norm_first else nn.Identity()
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        if self.place_proj is not None:
            nn.init.zeros_(self.place_proj.weight)
            nn.init.zeros_(self.place_proj.bias)

    def forward(self, levels: Sequence[Tensor], text: TextFeatures, padding_mask: Tensor) -> EncoderOutput:
        """Neck maps [B, in_channels, h, w], text, padding mask of the canvas [B, H, W] (True = padding)."""
        x, position, mask, sizes = self._sequence(levels, text, padding_mask)
        for layer in self.layers:
            x = layer(x, position, mask)
        return self._split(x, sizes)

    def forward_layers(self, levels: Sequence[Tensor], text: TextFeatures, padding_mask: Tensor) -> list[EncoderOutput]:
        """The output after every layer, the first layer's first; the last one is what :meth:`forward` gives.

        In a pre-norm encoder the earlier outputs pass through the final norm as well, so that all are of one scale.
        """
        x, position, mask, sizes = self._sequence(levels, text, padding_mask)
        outputs = []
        for layer in self.layers:
            x = layer(x, position, mask)
            outputs.append(self._split(x, sizes))
        return outputs

    def shared_parameters(self) -> list[nn.Parameter]:
        """The parameters of the last layer, on which every prediction from [REG] or the maps depends."""
        return list(self.layers[-1].parameters())

    def _sequence(
        self, levels: Sequence[Tensor], text: TextFeatures, padding_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Sizes]:
        """The joint sequence [B, 1 + L + N, d], its positions, its padding [B, 1 + L + N], and the maps' sizes."""
        if max(self.levels) >= len(levels):
            raise UserError(
                f'VisualLinguisticEncoder: levels={self.levels}, and the neck gives {len(levels)} maps; set num_outs '
                f'of the neck to at least {max(self.levels) + 1}, or take other levels.'
            )
        chosen = [levels[i] for i in self.levels]
        in_channels = [self.level_embed.embedding_dim] * len(chosen)
        require_channels('VisualLinguisticEncoder', in_channels, chosen, 'levels')
        sizes = tuple(tuple(x.shape[-2:]) for x in chosen)
        self._check(sizes, text.tokens)
        batch = text.tokens.shape[0]  # len() would be a constant in an export

        visual = torch.cat(
            [x.flatten(2).transpose(1, 2) + self.level_embed.weight[i] for i, x in zip(self.levels, chosen)], dim=1
        )  # [B, N, in_channels]
        reg = self.reg_token.weight.expand(batch, 1, -1)
        outside = [F.interpolate(padding_mask[:, None].float(), size=s).squeeze(1).bool() for s in sizes]
        visual = self.visual_proj(visual)
        if self.place_code is not None and self.place_proj is not None:
            codes = torch.cat([self.place_code(mask).flatten(2) for mask in outside], dim=2).transpose(1, 2)
            visual = visual + self.place_proj(codes.to(visual.dtype))
        x = torch.cat([reg, self.text_proj(text.tokens), visual], dim=1)  # [B, 1 + L + N, d]
        masks = [mask.flatten(1) for mask in outside]
        mask = torch.cat([text.padding_mask.new_zeros(batch, 1), text.padding_mask, *masks], dim=1)
        return x, self._positions(sizes, x), mask, sizes

    def _split(self, x: Tensor, sizes: Sizes) -> EncoderOutput:
        """The sequence after a layer [B, 1 + L + N, d], normalised if the layers are pre-norm, and split."""
        reg, tokens, *visual = self.norm(x).split([1, self.num_text_tokens, *(h * w for h, w in sizes)], dim=1)
        maps = [v.transpose(1, 2).unflatten(2, s) for v, s in zip(visual, sizes)]
        return EncoderOutput(reg.squeeze(1), tokens, maps)

    def _positions(self, sizes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
        """[1, 1 + L + N, d]"""
        if self.sine is None:
            return self.position.weight[None]
        codes = [self.sine(like.new_zeros((1, *s), dtype=torch.bool)).flatten(2).transpose(1, 2) for s in sizes]
        return torch.cat([self.position.weight[None], *(c.to(like.dtype) for c in codes)], dim=1)

    def _check(self, sizes: tuple[tuple[int, int], ...], tokens: Tensor) -> None:
        _, num_text_tokens, text_dim = tokens.shape
        if text_dim != self.text_proj.in_features:
            raise UserError(
                f'VisualLinguisticEncoder: text_dim={self.text_proj.in_features}, and the text encoder gives features '
                f'of width {text_dim}; make them equal.'
            )
        if num_text_tokens != self.num_text_tokens:
            raise UserError(
                f'VisualLinguisticEncoder: the text encoder gives {num_text_tokens} tokens (its max_length), '
                f'num_text_tokens is {self.num_text_tokens}; make them equal.'
            )
        if self.level_sizes is not None and sizes != self.level_sizes:
            raise UserError(
                f'VisualLinguisticEncoder: the maps of levels {self.levels} are {list(sizes)}, level_sizes says '
                f"{list(self.level_sizes)}; learned positions need that size: set level_sizes, or position='sine'."
            )

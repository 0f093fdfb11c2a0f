"""Attention within windows, with a learned bias for every relative position (Swin, section 3.2)."""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.backbones.swin import WindowMSA
from torch import Tensor
from torch.autograd.function import once_differentiable

from .recomputed import linear_gradients, recomputes, without_autocast
from .window_layout import WindowLayout, shift_mask

# Added to the logits of tokens that are neighbours only because the map was rolled. Published is -100, whose weights in
# float32 are not zero but denormal numbers, with which a CPU takes several times as long; the sums are the same.
SHIFT_LOGIT = -200.0
# Rows of the bias begin at multiples of this, because fused attention copies a bias that is not aligned.
ALIGNMENT = 8


def attend_in_windows(msa: WindowMSA, qkv: Tensor, layout: WindowLayout) -> Tensor:
    """Attention within the windows of the layout and the projection after it; same numbers as mmdet's.

    Args:
        msa: mmdet's module, whose parameters are used.
        qkv: Queries, keys and values, [B * n, T, 3C].
        layout: The windows.

    Returns:
        Tokens [B, H * W, C].
    """
    if qkv.device.type == 'cpu' and recomputes(msa.proj, qkv):
        weight, proj_bias = msa.proj.weight.to(qkv.dtype), msa.proj.bias.to(qkv.dtype)
        return ProjectedAttention.apply(qkv, relative_bias(msa, qkv.dtype), weight, proj_bias, msa.scale, layout)
    out = attention(qkv, position_bias(msa, layout, qkv.dtype), msa.num_heads, msa.scale)
    return msa.proj(layout.merge(out))


def relative_bias(msa: WindowMSA, dtype: torch.dtype, alignment: int = 1) -> Tensor:
    """The bias of the relative positions: [heads, T, T'], T' is T, rounded up to a multiple of ``alignment``.

    It is computed for every call, because it depends on trained parameters; it is small in comparison with the tokens.
    """
    index = msa.relative_position_index
    index = F.pad(index, (0, -index.shape[0] % alignment))  # [T, T']
    # Selected before the cast, so that the gradient is added up in the dtype of the parameter.
    bias = msa.relative_position_bias_table.t().index_select(1, index.flatten()).to(dtype)
    return bias.view(-1, *index.shape)


def position_bias(msa: WindowMSA, layout: WindowLayout, dtype: torch.dtype) -> Tensor:
    """The bias of the relative positions, and the mask of shifted windows: [1 or n, heads, T, T'].

    T' is T, rounded up to a multiple of ``ALIGNMENT``.
    """
    bias = relative_bias(msa, dtype, ALIGNMENT)[None]
    mask = shift_mask(layout, bias.device)
    if mask is None:
        return bias
    mask = F.pad(mask, (0, bias.shape[-1] - mask.shape[-1]))
    return bias + torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask, SHIFT_LOGIT)[:, None]


def attention(qkv: Tensor, bias: Tensor, num_heads: int, scale: float) -> Tensor:
    """qkv [B * n, T, 3C], bias [1 or n, heads, T, T'], T' >= T -> [B * n, T, C]."""
    count, tokens, channels = qkv.shape
    if bias.shape[0] > 1:
        bias = bias.expand(count // bias.shape[0], *bias.shape).flatten(0, 1)
    # Unbound in memory's order, so that the gradients of the three are put together by one copy.
    parts = qkv.view(count, tokens, 3, num_heads, -1).unbind(2)
    q, k, v = (part.transpose(1, 2) for part in parts)  # [B * n, heads, T, C / heads] each
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[..., :tokens], scale=scale)
    return out.transpose(1, 2).reshape(count, tokens, channels // 3)


class ProjectedAttention(torch.autograd.Function):
    """Attention within windows on the CPU and the projection after it, with a gradient of the bias.

    Torch's fused attention does not have that gradient on a CPU. Queries, keys and values are copied once, so that the
    products of many small matrices read contiguous memory; they are all that is kept of the tokens.
    """

    @staticmethod
    @without_autocast  # it would compute the softmax in float32
    def forward(
        ctx: Any, qkv: Tensor, bias: Tensor, weight: Tensor, proj_bias: Tensor, scale: float, layout: WindowLayout
    ) -> Tensor:
        """qkv [B * n, T, 3C], bias [heads, T, T], weight [C, C], proj_bias [C], all of one dtype -> [B, H * W, C]."""
        qkv = qkv.unflatten(2, (3, len(bias), -1)).permute(2, 0, 3, 1, 4).contiguous()  # [3, B * n, heads, T, c]
        ctx.save_for_backward(qkv, bias, weight)
        ctx.scale, ctx.layout = scale, layout
        weights = attention_weights(qkv, bias, scale, layout)
        return F.linear(layout.merge(joined_heads(weights @ qkv[2])), weight, proj_bias)

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        qkv, bias, weight = ctx.saved_tensors
        q, k, v = qkv
        weights = attention_weights(qkv, bias, ctx.scale, ctx.layout)
        projected = ctx.layout.merge(joined_heads(weights @ v))
        by_out, by_weight, by_proj_bias = linear_gradients(gradient, projected, weight)
        by_out = ctx.layout.partition(by_out).unflatten(2, (len(bias), -1)).transpose(1, 2).contiguous()
        by_logits = torch._softmax_backward_data(by_out @ v.transpose(2, 3), weights, -1, weights.dtype)
        by_bias = by_logits.sum(0)
        by_q_and_k = by_logits.mul_(ctx.scale)
        parts = by_q_and_k @ k, by_q_and_k.transpose(2, 3) @ q, weights.transpose(2, 3) @ by_out
        by_qkv = torch.stack([part.transpose(1, 2) for part in parts], dim=2).flatten(2)
        return by_qkv, by_bias, by_weight, by_proj_bias, None, None


def attention_weights(qkv: Tensor, bias: Tensor, scale: float, layout: WindowLayout) -> Tensor:
    """qkv [3, B * n, heads, T, c], bias [heads, T, T] -> the weights of the values, [B * n, heads, T, T]."""
    logits = torch.add(bias, qkv[0] @ qkv[1].transpose(2, 3), alpha=scale)
    mask = shift_mask(layout, logits.device)
    if mask is not None:
        rows, columns = layout.grid
        mask = mask.to(logits.dtype).mul_(SHIFT_LOGIT).view(rows, columns, 1, *mask.shape[1:])
        maps = logits.unflatten(0, (-1, rows, columns))
        # Only windows at the lower and the right edge contain tokens that are not neighbours.
        maps[:, -1].add_(mask[-1])
        maps[:, :-1, -1].add_(mask[:-1, -1])
    return logits.softmax(-1)


def joined_heads(out: Tensor) -> Tensor:
    """[B * n, heads, T, c] -> [B * n, T, C]."""
    return out.transpose(1, 2).flatten(2)

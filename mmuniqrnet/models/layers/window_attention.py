"""Attention within windows, with a learned bias for every relative position (Swin, section 3.2)."""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.backbones.swin import WindowMSA
from torch import Tensor
from torch.autograd.function import once_differentiable

from .window_layout import WindowLayout, shift_mask

# Added to the logits of tokens that are neighbours only because the map was rolled. Published is -100, whose weights in
# float32 are not zero but denormal numbers, with which a CPU takes several times as long; the sums are the same.
SHIFT_LOGIT = -200.0
# Rows of the bias begin at multiples of this, because fused attention copies a bias that is not aligned.
ALIGNMENT = 8


def attend_in_windows(msa: WindowMSA, x: Tensor, layout: WindowLayout) -> Tensor:
    """Tokens [B, H * W, C] -> [B, H * W, C], attention within the windows of the layout; same numbers as mmdet's.

    Args:
        msa: mmdet's module, whose parameters are used.
        x: The tokens, normalised.
        layout: The windows.
    """
    windows = layout.partition(x)  # [B * n, T, C]
    qkv = msa.qkv(windows)
    out = attention(qkv, position_bias(msa, layout, qkv.dtype), msa.num_heads, msa.scale)
    return msa.proj(layout.merge(out))


def position_bias(msa: WindowMSA, layout: WindowLayout, dtype: torch.dtype) -> Tensor:
    """The bias of the relative positions, and the mask of shifted windows: [1 or n, heads, T, T'].

    T' is T, rounded up to a multiple of ``ALIGNMENT``. The bias is computed for every call, because it depends on
    trained parameters; it is small in comparison with the tokens.
    """
    tokens = msa.relative_position_index.shape[0]
    index = F.pad(msa.relative_position_index, (0, -tokens % ALIGNMENT))  # [T, T']
    # Selected before the cast, so that the gradient is added up in the dtype of the parameter.
    bias = msa.relative_position_bias_table.t().index_select(1, index.flatten()).to(dtype)
    bias = bias.view(1, -1, *index.shape)
    mask = shift_mask(layout, index.device)
    if mask is None:
        return bias
    mask = F.pad(mask, (0, -tokens % ALIGNMENT))
    return bias + torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask, SHIFT_LOGIT)[:, None]


def attention(qkv: Tensor, bias: Tensor, num_heads: int, scale: float) -> Tensor:
    """qkv [B * n, T, 3C], bias [1 or n, heads, T, T'], T' >= T -> [B * n, T, C]."""
    count, tokens, channels = qkv.shape
    qkv = qkv.view(count, tokens, 3, num_heads, -1)
    trains = torch.is_grad_enabled() and (qkv.requires_grad or bias.requires_grad)
    if qkv.device.type == 'cpu' and trains and not torch.compiler.is_compiling():
        out = StepwiseAttention.apply(qkv.permute(2, 0, 3, 1, 4), bias[..., :tokens], scale)
    else:
        if bias.shape[0] > 1:
            bias = bias.expand(count // bias.shape[0], *bias.shape).flatten(0, 1)
        # Unbound in memory's order, so that the gradients of the three are put together by one copy.
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # [B * n, heads, T, C / heads] each
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[..., :tokens], scale=scale)
    return out.transpose(1, 2).reshape(count, tokens, channels // 3)


class StepwiseAttention(torch.autograd.Function):
    """Attention on the CPU with a gradient of the bias, which torch's fused attention does not have there.

    Queries, keys and values are copied once, so that the products of many small matrices read contiguous memory.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor, scale: float) -> Tensor:
        """qkv [3, B * n, heads, T, c], bias [1 or n, heads, T, T] -> [B * n, heads, T, c]."""
        qkv = qkv.contiguous()
        q, k, v = qkv
        with torch.autocast('cpu', enabled=False):  # it would compute the softmax in float32
            logits = q @ k.transpose(2, 3)
            per_map = logits.unflatten(0, (-1, bias.shape[0]))  # [B, n, heads, T, T], or [B * n, 1, heads, T, T]
            weights = torch.add(bias, per_map, alpha=scale).softmax(-1).view_as(logits)
            ctx.save_for_backward(qkv, weights)
            ctx.scale, ctx.num_masks = scale, bias.shape[0]
            return weights @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        qkv, weights = ctx.saved_tensors
        q, k, v = qkv
        gradient = gradient.contiguous()
        logits = torch._softmax_backward_data(gradient @ v.transpose(2, 3), weights, -1, weights.dtype)
        bias = logits.unflatten(0, (-1, ctx.num_masks)).sum(0)
        scaled = logits.mul_(ctx.scale)
        return torch.stack([scaled @ k, scaled.transpose(2, 3) @ q, weights.transpose(2, 3) @ gradient]), bias, None

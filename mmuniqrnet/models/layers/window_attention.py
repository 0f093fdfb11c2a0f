"""Attention within windows, with a learned bias for every relative position (Swin, section 3.2)."""

import torch
import torch.nn.functional as F
from mmdet.models.backbones.swin import WindowMSA
from torch import Tensor

from .window_layout import WindowLayout, shift_mask

# Added to the logits of tokens that are neighbours only because the map was rolled, as published.
SHIFT_LOGIT = -100.0
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
    """The bias of the relative positions, and the mask of shifted windows: [1 or n, heads, T, T].

    It is computed for every call, because it depends on trained parameters; it is small in comparison with the tokens.
    """
    index = msa.relative_position_index  # [T, T]
    tokens = index.shape[0]
    aligned = F.pad(index, (0, -tokens % ALIGNMENT))
    bias = msa.relative_position_bias_table.to(dtype).t().index_select(1, aligned.flatten())
    bias = bias.view(1, -1, tokens, aligned.shape[1])
    mask = shift_mask(layout, index.device)
    if mask is not None:
        mask = F.pad(mask, (0, -tokens % ALIGNMENT))
        bias = bias + torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask, SHIFT_LOGIT)[:, None]
    return bias[..., :tokens]


def attention(qkv: Tensor, bias: Tensor, num_heads: int, scale: float) -> Tensor:
    """qkv [B * n, T, 3C], bias [1 or n, heads, T, T] -> [B * n, T, C]."""
    count, tokens, channels = qkv.shape
    q, k, v = qkv.view(count, tokens, 3, num_heads, -1).permute(2, 0, 3, 1, 4)  # each [B * n, heads, T, C / heads]
    if qkv.device.type == 'cpu' and torch.is_grad_enabled() and (qkv.requires_grad or bias.requires_grad):
        out = _attention_step_by_step(q, k, v, bias, scale)
    else:
        if bias.shape[0] > 1:
            bias = bias.expand(count // bias.shape[0], *bias.shape).flatten(0, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
    return out.transpose(1, 2).reshape(count, tokens, channels // 3)


def _attention_step_by_step(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float) -> Tensor:
    """torch has no fused attention on the CPU that gives the bias a gradient."""
    logits = (q @ k.transpose(2, 3)).unflatten(0, (-1, bias.shape[0]))  # [B, n, heads, T, T]
    return torch.add(bias, logits, alpha=scale).softmax(-1).flatten(0, 1) @ v

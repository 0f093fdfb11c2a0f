"""Blocks of Swin that compute what mmdet's do, from the same parameters, with less memory traffic."""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.backbones.swin import PatchMerging, SwinBlock, SwinTransformer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .window_attention import attend_in_windows
from .window_layout import WindowLayout


class WindowBlock(SwinBlock):
    """mmdet's ``SwinBlock`` with the same parameters and numbers, and another calculation of the attention.

    Shift, padding and partition are one copy of the tokens instead of four, the attention is fused where torch can, and
    the norms are computed in the dtype of the matrix products instead of in float32 under autocast. Dropout of tokens
    and of attention weights is not supported, because Swin's recipes do not use it.

    Attributes:
        half_residual: Whether under autocast the tokens between the blocks are in autocast's dtype, too, which halves
            the memory traffic of the sums; otherwise they stay in float32.
    """

    half_residual = False

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Tokens x [B, H * W, C] of a map of (H, W) -> [B, H * W, C]."""
        attn, fc1, fc2 = self.attn, self.ffn.layers[0][0], self.ffn.layers[1]
        if self.half_residual and torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        layout = WindowLayout(*hw_shape, attn.window_size, attn.shift_size)
        x = add_branch(x, attend_in_windows(attn.w_msa, layer_norm(self.norm1, x), layout), attn.drop)
        return add_branch(x, gelu_linear(fc2, fc1(layer_norm(self.norm2, x))), self.ffn.dropout_layer)


class SlicingPatchMerging(PatchMerging):
    """mmdet's ``PatchMerging`` with the same parameters and numbers, without its ``Unfold``.

    Unfold orders the channels of four neighbours by channel, then by neighbour. Here the tokens stay as they are, which
    is a much faster copy, and the parameters are reordered, which are few in comparison.
    """

    def forward(self, x: Tensor, input_size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """Tokens x [B, H * W, C] of a map of (H, W) -> tokens of a map of half the size, rounded up, and its size."""
        height, width = input_size
        channels = x.shape[-1]
        x = x.unflatten(1, (height, width))
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        size = (height + 1) // 2, (width + 1) // 2
        x = x.unflatten(2, (size[1], 2)).unflatten(1, (size[0], 2)).transpose(2, 3)
        x = x.reshape(-1, size[0] * size[1], 4 * channels)  # ordered by neighbour, then by channel
        weight, bias = (p.view(channels, 4).t().flatten() for p in (self.norm.weight, self.norm.bias))
        reduction = self.reduction.weight.view(-1, channels, 4).transpose(1, 2).flatten(1)
        return F.linear(norm_tokens(x, weight, bias, self.norm.eps), reduction, self.reduction.bias), size


def use_window_blocks(swin: SwinTransformer, half_residual: bool = False) -> None:
    """Let the blocks and patch mergings of mmdet's Swin compute as those of this file do.

    mmdet's constructor gives no choice of the classes. The modules change their class and keep everything else, so
    names in checkpoints, initialisation and random numbers stay those of mmdet.
    """
    for module in swin.modules():
        if type(module) in (SwinBlock, WindowBlock):
            module.__class__ = WindowBlock
            module.half_residual = half_residual
        elif type(module) is PatchMerging and module.sampler.stride == module.sampler.kernel_size == (2, 2):
            module.__class__ = SlicingPatchMerging


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """A layer norm of tokens [..., C] in autocast's dtype, see :func:`norm_tokens`."""
    return norm_tokens(x, norm.weight, norm.bias, norm.eps)


def norm_tokens(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Layer norm over the last dimension; under autocast in its dtype, with sums in float32.

    Autocast computes norms in float32 from and to memory, and the matrix product that follows converts the result.
    """
    if not (torch.amp.is_autocast_available(x.device.type) and torch.is_autocast_enabled(x.device.type)):
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)
    dtype = torch.get_autocast_dtype(x.device.type)
    with torch.autocast(x.device.type, enabled=False):
        return F.layer_norm(x.to(dtype), x.shape[-1:], weight.to(dtype), bias.to(dtype), eps)


def gelu_linear(linear: nn.Linear, x: Tensor) -> Tensor:
    """``linear(gelu(x))``, with gelu(x) computed again for the gradient instead of kept: x [..., in] -> [..., out].

    It is a quarter of what a block of Swin would keep, and takes little time to compute.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type == 'meta':
        return linear(F.gelu(x))
    return GeluLinear.apply(x, linear.weight.to(x.dtype), linear.bias.to(x.dtype))


class GeluLinear(torch.autograd.Function):
    """A linear layer of gelu(x) that keeps x only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [..., in], weight [out, in], bias [out] -> [..., out], all of one dtype."""
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        flat = gradient.flatten(0, -2)
        by_weight = flat.t() @ F.gelu(x).flatten(0, -2)
        by_x = torch.ops.aten.gelu_backward(gradient @ weight, x)
        return by_x, by_weight, flat.sum(0)


def add_branch(x: Tensor, branch: Tensor, drop: nn.Module) -> Tensor:
    """x + branch [B, N, C], with the branch of some samples dropped as mmcv's ``DropPath`` does in training."""
    rate = getattr(drop, 'drop_prob', 0.0)
    if not drop.training or rate == 0:
        return x + branch
    # At least float32: half precision is too coarse for probabilities.
    dtype = torch.promote_types(x.dtype, torch.float32)
    kept = (torch.rand(x.shape[0], 1, 1, dtype=dtype, device=x.device) + (1 - rate)).floor() / (1 - rate)
    return torch.addcmul(x, branch, kept.to(x.dtype))

"""Layers that keep less for the backward pass: results of cheap operations are computed again instead of kept.

They compute what the plain modules do. The compiler, exports and tracing get the plain modules, and so does a linear
layer that is not a plain one (adapted, quantised, parametrised, or with hooks), which is called as it is.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.wrappers import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from .window_layout import WindowLayout, is_plain

# Asked once: torch.compile of torch 2.6 and 2.8 can not ask.
WITH_AUTOCAST = frozenset(kind for kind in ('cpu', 'cuda', 'xpu', 'mps') if torch.amp.is_autocast_available(kind))


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """A layer norm of tokens [..., C] in autocast's dtype, see :func:`norm_tokens`."""
    return norm_tokens(x, norm.weight, norm.bias, norm.eps)


def norm_tokens(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Layer norm over the last dimension; under autocast in its dtype, with sums in float32.

    Autocast computes norms in float32 from and to memory, and the matrix product that follows converts the result.
    """
    dtype = autocast_dtype(x)
    if dtype is None:
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)
    with torch.autocast(x.device.type, enabled=False):
        return F.layer_norm(x.to(dtype), x.shape[-1:], weight.to(dtype), bias.to(dtype), eps)


def norm_linear(norm: nn.LayerNorm, linear: nn.Module, x: Tensor, layout: WindowLayout | None = None) -> Tensor:
    """``linear(norm(x))``, with norm(x) computed again for the gradient: x [B, N, in] -> [B, N, out].

    With a layout, the tokens between the two are put in the order of its windows: -> [B * n, T, out].
    """
    if not recomputes(linear, x):
        normed = layer_norm(norm, x)
        return linear(normed if layout is None else layout.partition(normed))
    dtype = autocast_dtype(x) or x.dtype
    parameters = (p.to(dtype) for p in (norm.weight, norm.bias, linear.weight, linear.bias))
    return NormLinear.apply(x.to(dtype), *parameters, norm.eps, layout)


def gelu_linear(linear: nn.Module, x: Tensor) -> Tensor:
    """``linear(gelu(x))``, with gelu(x) computed again for the gradient: x [..., in] -> [..., out].

    It is a quarter of what a block of Swin would keep, and takes little time to compute.
    """
    if not recomputes(linear, x):
        return linear(F.gelu(x))
    return GeluLinear.apply(x, linear.weight.to(x.dtype), linear.bias.to(x.dtype))


def norm_mlp(norm: nn.LayerNorm, fc1: nn.Module, fc2: nn.Module, x: Tensor) -> Tensor:
    """``fc2(gelu(fc1(norm(x))))``, with all but fc2's product computed again for the gradient: x [B, N, C] -> the same.

    The hidden layer is most of what a block keeps; to compute it again costs a third of the products of the forward
    pass of this part and of the attention together.
    """
    if not (recomputes(fc1, x) and recomputes(fc2, x)):
        return checkpoint(lambda x: fc2(F.gelu(fc1(layer_norm(norm, x)))), x, use_reentrant=False)
    dtype = autocast_dtype(x) or x.dtype
    parameters = (norm.weight, norm.bias, fc1.weight, fc1.bias, fc2.weight, fc2.bias)
    return NormMlp.apply(x.to(dtype), *(p.to(dtype) for p in parameters), norm.eps)


def recomputes(linear: nn.Module, x: Tensor) -> bool:
    """Whether the layers of this file compute by themselves what the gradient needs, instead of calling ``linear``."""
    plain = type(linear) in (nn.Linear, Linear) and linear.bias is not None
    hooks = linear._forward_hooks or linear._forward_pre_hooks or linear._backward_hooks or linear._backward_pre_hooks
    return plain and not hooks and torch.is_grad_enabled() and is_plain(x)


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The dtype of autocast for the device of ``x``; None without autocast."""
    kind = x.device.type
    if kind in WITH_AUTOCAST and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return None


def without_autocast(function: Callable) -> Callable:
    """A static method of an autograd function, computed in the dtypes of its tensors even within autocast."""

    @wraps(function)
    def wrapped(ctx: Any, tensor: Tensor, *args: Any) -> Any:
        if autocast_dtype(tensor) is None:
            return function(ctx, tensor, *args)
        with torch.autocast(tensor.device.type, enabled=False):
            return function(ctx, tensor, *args)

    return wrapped


def linear_gradients(gradient: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a linear layer's input, weight and bias: gradient [..., out], x [..., in], weight [out, in]."""
    flat = gradient.flatten(0, -2)
    return gradient @ weight, flat.t() @ x.flatten(0, -2), flat.sum(0)


class NormLinear(torch.autograd.Function):
    """A linear layer of normalised tokens that keeps the tokens before the norm only."""

    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        x: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        layout: WindowLayout | None,
    ) -> Tensor:
        """x [B, N, in], norm_weight and norm_bias [in], weight [out, in], bias [out], all of one dtype."""
        ctx.save_for_backward(x, norm_weight, norm_bias, weight)
        ctx.eps, ctx.layout = eps, layout
        normed = F.layer_norm(x, x.shape[-1:], norm_weight, norm_bias, eps)
        return F.linear(normed if layout is None else layout.partition(normed), weight, bias)

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, norm_weight, norm_bias, weight = ctx.saved_tensors
        shape, layout = x.shape[-1:], ctx.layout
        normed, mean, rstd = torch.native_layer_norm(x, shape, norm_weight, norm_bias, ctx.eps)
        if layout is not None:
            normed = layout.partition(normed)
        by_normed, by_weight, by_bias = linear_gradients(gradient, normed, weight)
        if layout is not None:
            by_normed = layout.merge(by_normed)
        by_x, by_norm_weight, by_norm_bias = torch.ops.aten.native_layer_norm_backward(
            by_normed, x, shape, mean, rstd, norm_weight, norm_bias, ctx.needs_input_grad[:3]
        )
        return by_x, by_norm_weight, by_norm_bias, by_weight, by_bias, None, None


class GeluLinear(torch.autograd.Function):
    """A linear layer of gelu(x) that keeps x only."""

    @staticmethod
    @without_autocast
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [..., in], weight [out, in], bias [out] -> [..., out], all of one dtype."""
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        by_gelu, by_weight, by_bias = linear_gradients(gradient, F.gelu(x), weight)
        return torch.ops.aten.gelu_backward(by_gelu, x), by_weight, by_bias


class NormMlp(torch.autograd.Function):
    """Norm, linear layer, GELU and linear layer of tokens, which keeps the tokens before the norm only."""

    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        x: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        weight1: Tensor,
        bias1: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        eps: float,
    ) -> Tensor:
        """x [B, N, C], norm_weight and norm_bias [C], weight1 [hidden, C], weight2 [C, hidden], all of one dtype."""
        ctx.save_for_backward(x, norm_weight, norm_bias, weight1, bias1, weight2)
        ctx.eps = eps
        hidden = F.linear(F.layer_norm(x, x.shape[-1:], norm_weight, norm_bias, eps), weight1, bias1)
        return F.linear(F.gelu(hidden), weight2, bias2)

    @staticmethod
    @once_differentiable
    @without_autocast
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, norm_weight, norm_bias, weight1, bias1, weight2 = ctx.saved_tensors
        normed, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], norm_weight, norm_bias, ctx.eps)
        hidden = F.linear(normed, weight1, bias1)
        by_gelu, by_weight2, by_bias2 = linear_gradients(gradient, F.gelu(hidden), weight2)
        by_hidden = torch.ops.aten.gelu_backward(by_gelu, hidden)
        by_normed, by_weight1, by_bias1 = linear_gradients(by_hidden, normed, weight1)
        by_x, by_norm_weight, by_norm_bias = torch.ops.aten.native_layer_norm_backward(
            by_normed, x, x.shape[-1:], mean, rstd, norm_weight, norm_bias, ctx.needs_input_grad[:3]
        )
        return by_x, by_norm_weight, by_norm_bias, by_weight1, by_bias1, by_weight2, by_bias2, None

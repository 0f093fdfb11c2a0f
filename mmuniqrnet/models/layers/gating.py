"""Pooling of tokens and their product with gates, with few passes over the tokens forward and backward."""

from collections.abc import Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .window_layout import is_plain


def mean_and_maximum(x: Tensor) -> Tensor:
    """Tokens [B, N, C] -> mean and maximum over the tokens, [B, 2, C].

    Where several tokens have the maximum, the gradient goes to one of them.
    """
    if not (torch.is_grad_enabled() and is_plain(x)):
        return torch.stack([x.mean(dim=1), x.amax(dim=1)], dim=1)
    return MeanAndMaximum.apply(x)


def multiply(x: Tensor, gates: Sequence[Tensor]) -> Tensor:
    """Tokens [B, N, C] multiplied by gates [B, 1, C] and [B, N, 1], both, one, or none of them."""
    # A gate in float32, as autocast computes some, would make the product and all that follows float32.
    gates = [gate.to(x.dtype) for gate in gates]
    if len(gates) == 2 and torch.is_grad_enabled() and is_plain(x):
        return GatedTokens.apply(x, *gates)
    for gate in gates:
        x = x * gate
    return x


class MeanAndMaximum(torch.autograd.Function):
    """Keeps the places of the maxima, from which the gradient is made without another look at the tokens."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """[B, N, C] -> [B, 2, C]."""
        batch, count, channels = x.shape
        # In two steps, because the maximum with its place takes several times as long as the maximum alone.
        parts = next(n for n in range(isqrt(count), 0, -1) if count % n == 0)
        grid = x.reshape(batch, parts, -1, channels)
        maximum, column = grid.flatten(2).amax(1).view(batch, -1, channels).max(1, keepdim=True)  # [B, 1, C] each
        found = grid.gather(2, column[:, None].expand(-1, parts, -1, -1))  # [B, parts, 1, C]
        row = found.max(1).indices  # faster than argmax
        ctx.save_for_backward(row * grid.shape[2] + column)
        ctx.count = count
        return torch.cat([x.mean(1, keepdim=True), maximum], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (place,) = ctx.saved_tensors
        by_mean, by_maximum = gradient.split(1, dim=1)
        by_x = (by_mean / ctx.count).repeat(1, ctx.count, 1)
        return by_x.scatter_add_(1, place, by_maximum)


class GatedTokens(torch.autograd.Function):
    """The product with both gates; keeps the tokens and the gates, and not the product with the first gate."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, channels: Tensor, tokens: Tensor) -> Tensor:
        """x [B, N, C], channels [B, 1, C], tokens [B, N, 1], all of one dtype -> [B, N, C]."""
        ctx.save_for_backward(x, channels, tokens)
        return (x * channels).mul_(tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, channels, tokens = ctx.saved_tensors
        product = gradient * x
        by_channels = tokens.transpose(1, 2) @ product
        by_tokens = product @ channels.transpose(1, 2)
        return torch.mul(gradient, channels, out=product).mul_(tokens), by_channels, by_tokens

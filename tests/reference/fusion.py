"""Query-aware multiscale fusion, the neck (QRNet, section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .query_dynamic_attention import QueryDynamicAttention


def nearest(x: Tensor, height: int, width: int) -> Tensor:
    """x [..., h, w] -> [..., height, width]: the value at the place rounded down."""
    rows = torch.arange(height, device=x.device) * x.shape[-2] // height
    columns = torch.arange(width, device=x.device) * x.shape[-1] // width
    return x[..., rows, :][..., columns]


def block_means(x: Tensor) -> Tensor:
    """x [B, C, H, W] -> [B, C, H / 2, W / 2], rounded up: the mean of every 2x2 block, at odd ends of what is there."""
    height, width = x.shape[-2:]
    total = count = 0
    for row in (0, 1):
        for column in (0, 1):
            pixels = x[:, :, row::2, column::2]
            rest = (0, (width + 1) // 2 - pixels.shape[-1], 0, (height + 1) // 2 - pixels.shape[-2])
            total = total + nn.functional.pad(pixels, rest)
            count = count + nn.functional.pad(torch.ones_like(pixels), rest)
    return total / count


class Lateral(nn.Module):
    """A 1x1 convolution under its published name."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Transition(nn.Module):
    """Gate a level and bring it to the size of the next coarser one."""

    def __init__(self, channels: int, **gates) -> None:
        super().__init__()
        self.qdatt = QueryDynamicAttention(channels, **gates)

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # [B, H * W, C]
        return block_means(self.qdatt(tokens, sentence).transpose(1, 2).view(x.shape))


class QueryAwareFusion(nn.Module):
    """Four maps, finest first, and sentence [B, D] -> five maps [B, channels, ., .] of strides 4, 8, 16, 32, 64."""

    def __init__(self, in_channels: Sequence[int], channels: int, **gates) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(Lateral(width, channels) for width in in_channels)
        self.fpn_down = nn.ModuleList(Transition(channels, **gates) for _ in in_channels[1:])

    def forward(self, maps: Sequence[Tensor], sentence: Tensor) -> list[Tensor]:
        levels = [lateral(x) for lateral, x in zip(self.lateral_convs, maps)]
        for i in reversed(range(len(levels) - 1)):  # top-down: coarse to fine
            levels[i] = levels[i] + nearest(levels[i + 1], *levels[i].shape[-2:])
        for i, transition in enumerate(self.fpn_down):  # bottom-up: fine to coarse
            levels[i + 1] = levels[i + 1] + transition(levels[i], sentence)
        return [*levels, levels[-1][:, :, ::2, ::2]]  # max pooling with kernel 1 and stride 2

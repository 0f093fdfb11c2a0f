"""Swin in its original detection layout, with a QD-ATT at the end of every stage (QRNet, section 3.2)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .query_dynamic_attention import QueryDynamicAttention


def pad_to(x: Tensor, multiple: int) -> Tensor:
    """x [B, H, W, C], padded with zeros at the bottom and at the right."""
    height, width = x.shape[1:3]
    return F.pad(x, (0, 0, 0, -width % multiple, 0, -height % multiple))


def to_windows(x: Tensor, size: int) -> Tensor:
    """[B, H, W, C] -> [B, windows, size * size, C], row by row."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // size, size, width // size, size, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size, channels)


def from_windows(x: Tensor, size: int, height: int, width: int) -> Tensor:
    """The inverse of :func:`to_windows`."""
    x = x.view(len(x), height // size, width // size, size, size, -1)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(len(x), height, width, -1)


def relative_positions(size: int) -> Tensor:
    """[size^2, size^2]: the row of the bias table for each pair of places in a window."""
    rows, columns = (grid.flatten() for grid in torch.meshgrid(*[torch.arange(size)] * 2, indexing='ij'))
    down = rows[:, None] - rows[None, :] + size - 1
    right = columns[:, None] - columns[None, :] + size - 1
    return down * (2 * size - 1) + right


def shift_mask(height: int, width: int, size: int, shift: int, like: Tensor) -> Tensor:
    """[windows, size^2, size^2]: -100 between tokens that are neighbours only because the map was rolled."""

    def parts(length: int) -> Tensor:
        places = torch.arange(length, device=like.device)
        return (places >= length - size).long() + (places >= length - shift).long()

    regions = parts(height)[:, None] * 3 + parts(width)[None, :]
    regions = to_windows(regions[None, :, :, None], size)[0, :, :, 0]  # [windows, size^2]
    apart = regions[:, :, None] != regions[:, None, :]
    return like.new_zeros(apart.shape).masked_fill(apart, -100.0)


class WindowAttention(nn.Module):
    """Multi-head attention within windows, with a learned bias for every relative position."""

    def __init__(self, channels: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))
        self.register_buffer('relative_position_index', relative_positions(window))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, windows, T, C], mask [windows, T, T] -> [B, windows, T, C]."""
        batch, windows, tokens, channels = x.shape
        qkv = self.qkv(x).view(batch, windows, tokens, 3, self.num_heads, channels // self.num_heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # each [B, windows, heads, T, C / heads]
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)  # [heads, T, T]
        scores = q * (channels // self.num_heads) ** -0.5 @ k.transpose(-1, -2) + bias
        if mask is not None:
            scores = scores + mask[None, :, None]
        out = scores.softmax(dim=-1) @ v
        return self.proj(out.transpose(2, 3).reshape(x.shape))


class MLP(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm window attention, windows moved by half their size in every second block, and a feed-forward part."""

    def __init__(self, channels: int, num_heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, num_heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H, W, C]; what pads the map to whole windows is attended to, as published."""
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = pad_to(x, self.window)
        padded, mask = x.shape[1:3], None
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = shift_mask(*padded, self.window, self.shift, x)
        x = from_windows(self.attn(to_windows(x, self.window), mask), self.window, *padded)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]


class PatchMerging(nn.Module):
    """2x2 neighbours side by side, in the order (0, 0), (1, 0), (0, 1), (1, 1) of (row, column); norm; linear layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H / 2, W / 2, 2C], sizes rounded up."""
        x = pad_to(x, 2)
        neighbours = [x[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
        return self.reduction(self.norm(torch.cat(neighbours, dim=-1)))


class PatchEmbed(nn.Module):
    def __init__(self, channels: int, patch: int = 4) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(3, channels, patch, stride=patch)
        self.norm = nn.LayerNorm(channels)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, H / 4, W / 4, C], sizes rounded up."""
        x = pad_to(images.permute(0, 2, 3, 1), self.patch).permute(0, 3, 1, 2)
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Stage(nn.Module):
    def __init__(self, channels: int, depth: int, num_heads: int, window: int, last: bool, **gates) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, num_heads, window, shifted=i % 2 == 1) for i in range(depth))
        self.qdatt = QueryDynamicAttention(channels, **gates)
        self.downsample = None if last else PatchMerging(channels)

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """The gated tokens [B, H, W, C], which go to the stage's output and to patch merging."""
        for block in self.blocks:
            x = block(x)
        return self.qdatt(x.flatten(1, 2), sentence).view(x.shape)


class QueryModulatedSwin(nn.Module):
    """images [B, 3, H, W], sentence [B, D] -> maps [B, C_i, H / 4, W / 4], ... of strides 4, 8, 16, 32."""

    def __init__(self, channels: int, depths: Sequence[int], num_heads: Sequence[int], window: int, **gates) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(channels)
        widths = [channels * 2**i for i in range(len(depths))]
        self.layers = nn.ModuleList(
            Stage(width, depth, heads, window, last=i == len(depths) - 1, **gates)
            for i, (width, depth, heads) in enumerate(zip(widths, depths, num_heads))
        )
        for i, width in enumerate(widths):
            setattr(self, f'norm{i}', nn.LayerNorm(width))

    def forward(self, images: Tensor, sentence: Tensor) -> list[Tensor]:
        x, maps = self.patch_embed(images), []
        for i, stage in enumerate(self.layers):
            x = stage(x, sentence)
            maps.append(getattr(self, f'norm{i}')(x).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                x = stage.downsample(x)
        return maps

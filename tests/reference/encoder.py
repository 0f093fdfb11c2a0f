"""The visual-linguistic encoder and the box (QRNet, section 3.4; TransVG, section 3.2)."""

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention; the names are those of torch.nn.MultiheadAttention."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, padding: Tensor) -> Tensor:
        """query, key, value [B, N, d]; padding [B, N], True where a key is not attended to -> [B, N, d]."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            (x @ weight.T + bias).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, heads, N, d / heads]
            for x, weight, bias in zip((query, key, value), weights, biases)
        )
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(padding[:, None, None], -torch.inf)
        return self.out_proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Post-norm; positions are added to queries and keys, not to values."""

    def __init__(self, width: int, num_heads: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, num_heads)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, position: Tensor, padding: Tensor) -> Tensor:
        """x [B, N, d], position [N, d], padding [B, N] -> [B, N, d]."""
        query = x + position
        x = self.norm1(x + self.self_attn(query, query, x, padding))
        return self.norm2(x + self.linear2(self.linear1(x).relu()))


class Encoder(nn.Module):
    def __init__(self, width: int, num_heads: int, feedforward: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, num_heads, feedforward) for _ in range(num_layers))

    def forward(self, x: Tensor, position: Tensor, padding: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, position, padding)
        return x


class BoxMLP(nn.Module):
    """reg [B, d] -> boxes [B, 4], (cx, cy, w, h) relative to the canvas."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 4)])

    def forward(self, reg: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(second(first(reg).relu()).relu()).sigmoid()

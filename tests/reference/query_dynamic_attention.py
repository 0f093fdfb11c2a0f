"""QD-ATT: gates that the text makes (QRNet, section 3.2)."""

import torch
from torch import Tensor, nn


class DynamicDecoder(nn.Module):
    """The text vector t [B, D] gives U [B, in + 1, k]; the sample's weight and bias are U @ V."""

    def __init__(self, in_features: int, out_features: int, text_dim: int, rank: int) -> None:
        super().__init__()
        self.in_features, self.rank = in_features, rank
        self.V = nn.Parameter(torch.zeros(rank, out_features))
        self.decoder = nn.Linear(text_dim, (in_features + 1) * rank)

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, N, in], sentence [B, D] -> [B, N, out]."""
        u = self.decoder(sentence).view(len(sentence), self.in_features + 1, self.rank)
        weight, bias = u[:, :-1], u[:, -1:]  # [B, in, k], [B, 1, k]
        return x @ weight @ self.V + bias @ self.V


class DynamicLinear(nn.Module):
    """A dynamic layer under its published name."""

    def __init__(self, in_features: int, out_features: int, text_dim: int, rank: int) -> None:
        super().__init__()
        self.decoder = DynamicDecoder(in_features, out_features, text_dim, rank)

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        return self.decoder(x, sentence)


class ChannelGate(nn.Module):
    """Mean and maximum of the tokens, each through the same dynamic MLP C -> C/16 -> C; added; sigmoid."""

    def __init__(self, channels: int, text_dim: int, rank: int, reduction: int) -> None:
        super().__init__()
        hidden = channels // reduction
        first, last = (hidden, channels), (channels, hidden)
        self.mlp = nn.ModuleList(
            [DynamicLinear(*last, text_dim, rank), nn.ReLU(), DynamicLinear(*first, text_dim, rank)]
        )

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, N, C], sentence [B, D] -> [B, 1, C]."""
        total = 0
        for pooled in (x.mean(dim=1, keepdim=True), x.max(dim=1, keepdim=True).values):
            hidden = self.mlp[1](self.mlp[0](pooled, sentence))
            total = total + self.mlp[2](hidden, sentence)
        return torch.sigmoid(total)


class SpatialGate(nn.Module):
    """A dynamic layer C -> 1 for each token; sigmoid."""

    def __init__(self, channels: int, text_dim: int, rank: int) -> None:
        super().__init__()
        self.spatial = DynamicLinear(channels, 1, text_dim, rank)

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, N, C], sentence [B, D] -> [B, N, 1]."""
        return torch.sigmoid(self.spatial(x, sentence))


class QueryDynamicAttention(nn.Module):
    """The channel gate, then the spatial gate; either may be absent."""

    def __init__(
        self, channels: int, text_dim: int, rank: int, reduction: int, channel_gate: bool, spatial_gate: bool
    ) -> None:
        super().__init__()
        self.ChannelGate = ChannelGate(channels, text_dim, rank, reduction) if channel_gate else None
        self.SpatialGate = SpatialGate(channels, text_dim, rank) if spatial_gate else None

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, N, C], sentence [B, D] -> [B, N, C]."""
        if self.ChannelGate is not None:
            x = x * self.ChannelGate(x, sentence)
        if self.SpatialGate is not None:
            x = x * self.SpatialGate(x, sentence)
        return x

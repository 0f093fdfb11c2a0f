import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DynamicLinear(nn.Module):
    """A linear layer whose weight and bias are made from the text (QRNet, section 3.2).

    The text vector t is mapped to a low-rank factor U [in + 1, rank]; with a factor V [rank, out] shared by all
    samples, U @ V holds the weight in its first ``in`` rows and the bias in the last. The product is never formed: x
    goes through U, then through V, which costs rank * (in + out) per token.

    Args:
        in_features: Width of the input tokens.
        out_features: Width of the output tokens.
        text_dim: Width of the text vector.
        rank: k of the paper.
        zero_init: Whether V starts at zero, as published: whatever the input, the output is zero at first.
    """

    def __init__(
        self, in_features: int, out_features: int, text_dim: int, rank: int = 30, zero_init: bool = True
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.rank = rank
        self.decoder = nn.Linear(text_dim, (in_features + 1) * rank)
        self.V = nn.Parameter(torch.zeros(rank, out_features))
        if not zero_init:
            nn.init.normal_(self.V, std=rank**-0.5)

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, N, in] and sentence [B, text_dim] -> [B, N, out]."""
        u = self.decoder(sentence).view(-1, self.in_features + 1, self.rank)  # [B, in + 1, rank]
        return torch.baddbmm(u[:, -1:], x, u[:, :-1]) @ self.V

    def extra_repr(self) -> str:
        return f'in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}'


class ChannelGate(nn.Module):
    """Which channels the text asks for: one weight in 0..1 per channel, from the average- and the max-pooled tokens.

    It starts at 0.5 everywhere, as published, since the last layer's V is zero. The first layer's V is not zero here,
    though it is as published: behind it is a ReLU, whose gradient at exactly zero is zero, so it would stay zero for
    ever, and the gate would never see the image.
    """

    def __init__(self, channels: int, text_dim: int, reduction: int = 16, rank: int = 30) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.squeeze = DynamicLinear(channels, hidden, text_dim, rank, zero_init=False)
        self.excite = DynamicLinear(hidden, channels, text_dim, rank)

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, N, C], sentence [B, D] -> gate [B, 1, C]."""
        pooled = torch.stack([x.mean(dim=1), x.amax(dim=1)], dim=1)  # [B, 2, C]: both go through the same MLP
        out = self.excite(F.relu(self.squeeze(pooled, sentence)), sentence)
        return out.sum(dim=1, keepdim=True).sigmoid()


class SpatialGate(nn.Module):
    """Where the text looks: one weight in 0..1 per token."""

    def __init__(self, channels: int, text_dim: int, rank: int = 30) -> None:
        super().__init__()
        self.score = DynamicLinear(channels, 1, text_dim, rank)

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, N, C], sentence [B, D] -> gate [B, N, 1]."""
        return self.score(x, sentence).sigmoid()


class QueryDynamicAttention(nn.Module):
    """QD-ATT: gates image tokens by channel and then by place, with layers that the text makes (QRNet, section 3.2).

    It keeps nothing between calls; to see the gates, put a forward hook on ``channel`` or ``spatial``.

    Args:
        channels: C of the tokens.
        text_dim: Width of the text vector.
        channel_gate: Whether to gate channels (off in the paper's ablation).
        spatial_gate: Whether to gate places.
        reduction: The channel gate's hidden layer has C / reduction units.
        rank: k of the dynamic layers.
    """

    def __init__(
        self,
        channels: int,
        text_dim: int,
        *,
        channel_gate: bool = True,
        spatial_gate: bool = True,
        reduction: int = 16,
        rank: int = 30,
    ) -> None:
        super().__init__()
        self.channel = ChannelGate(channels, text_dim, reduction, rank) if channel_gate else None
        self.spatial = SpatialGate(channels, text_dim, rank) if spatial_gate else None

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, N, C], sentence [B, D] -> [B, N, C]."""
        if self.channel is not None:
            x = x * self.channel(x, sentence)
        if self.spatial is not None:
            x = x * self.spatial(x, sentence)
        return x

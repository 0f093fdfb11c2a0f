import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DynamicLinear(nn.Module):
    """A linear layer whose weight and bias are computed from the text (QRNet, section 3.2).

    The text vector t is mapped to a low-rank factor U [in + 1, rank]; V [rank, out] is a parameter shared by all
    samples. U @ V contains the weight in its first ``in`` rows and the bias in the last one. The product is not
    computed: x is multiplied by U, then by V, which costs rank * (in + out) per token.

    Args:
        in_features: Width of the input tokens.
        out_features: Width of the output tokens.
        text_dim: Width of the text vector.
        rank: k of the paper.
        zero_init: Whether V starts at zero, as published; the output is then zero at first for any input.
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
    """One weight in 0..1 per channel, computed with the text from the average-pooled and the max-pooled tokens.

    All weights are 0.5 at first, as published, because V of the last layer is zero. V of the first layer is zero as
    published, but random here: it is followed by a ReLU, whose gradient at exactly zero is zero, so V would stay zero
    and the gate would never depend on the image.
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
    """One weight in 0..1 per token, computed with the text."""

    def __init__(self, channels: int, text_dim: int, rank: int = 30) -> None:
        super().__init__()
        self.score = DynamicLinear(channels, 1, text_dim, rank)

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, N, C], sentence [B, D] -> gate [B, N, 1]."""
        return self.score(x, sentence).sigmoid()


class QueryDynamicAttention(nn.Module):
    """QD-ATT: gates image tokens by channel, then by position, with layers computed from the text (QRNet, section 3.2).

    It keeps no state between calls; to get the gates, register a forward hook on ``channel`` or ``spatial``.

    Args:
        channels: C of the tokens.
        text_dim: Width of the text vector.
        channel_gate: Whether to gate channels (off in the paper's ablation).
        spatial_gate: Whether to gate positions.
        reduction: The hidden layer of the channel gate has C / reduction units.
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

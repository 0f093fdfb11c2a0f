import torch
from torch import Tensor, nn


class DynamicLinear(nn.Module):
    """A linear layer whose weight and bias are made from the text (QRNet, section 3.2).

    The text vector t is mapped to a low-rank factor U [in + 1, rank]; with a factor V [rank, out] shared by all samples,
    U @ V holds the weight in its first ``in`` rows and the bias in the last. The product is never formed: x goes
    through U, then through V, which costs rank * (in + out) per token.

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

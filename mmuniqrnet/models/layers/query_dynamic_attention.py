import torch
import torch.nn.functional as F
from mmengine.model.weight_init import trunc_normal_init
from torch import Tensor, nn

from mmuniqrnet.utils.errors import UserError

from .gating import mean_and_maximum, multiply


class DynamicLinear(nn.Module):
    """A linear layer whose weight and bias are computed from the text (QRNet, section 3.2).

    The text vector t is mapped to a low-rank factor U [in + 1, rank]; V [rank, out] is a parameter shared by all
    samples. U @ V contains the weight in its first ``in`` rows and the bias in the last one. The product is computed
    only where this costs less than to multiply x by U, then by V, as for one output and many tokens.

    Args:
        in_features: Width of the input tokens.
        out_features: Width of the output tokens.
        text_dim: Width of the text vector.
        rank: k of the paper.
        zero_init: Whether V starts at zero, as published; the output is then zero at first for any input.
        unit_text: Whether the text vector is normalised to length 1 (our design); published is as it comes, whose
            entries have about size 1. U then changes by the learning rate times ``text_dim`` in a step of Adam, a tenth
            of itself; with length 1, by the learning rate times the root of ``text_dim``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        text_dim: int,
        rank: int = 30,
        zero_init: bool = True,
        unit_text: bool = False,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.rank = rank
        self.unit_text = unit_text
        self.decoder = nn.Linear(text_dim, (in_features + 1) * rank)
        self.V = nn.Parameter(torch.zeros(rank, out_features))
        if not zero_init:
            nn.init.normal_(self.V, std=rank**-0.5)
        if unit_text:
            self.init_unit_decoder()

    def init_unit_decoder(self) -> None:
        """Initialise for ``unit_text``: the entries of U have standard deviation 1 for a text vector of length 1."""
        nn.init.normal_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, x: Tensor, sentence: Tensor, channels: Tensor | None = None) -> Tensor:
        """x [B, N, in] and sentence [B, text_dim] -> [B, N, out].

        With ``channels`` [B, 1, in], x is multiplied by them first; this is done to the weight, which is smaller.
        """
        if self.unit_text:
            sentence = F.normalize(sentence, dim=-1)
        matrix = self.decoder(sentence).view(-1, self.in_features + 1, self.rank)  # U, [B, in + 1, rank]
        forms_product = self._product_costs_less(x.shape[1])
        if forms_product:
            matrix = matrix @ self.V
        weight, bias = matrix[:, :-1], matrix[:, -1:]
        if channels is not None:
            weight = weight * channels.transpose(1, 2)
        if self.out_features == 1 and forms_product and torch.compiler.is_dynamo_compiling():
            # The compiler fuses this sum with what else reads x, but not a product of matrices.
            return (x * weight.transpose(1, 2)).sum(dim=-1, keepdim=True) + bias
        out = torch.baddbmm(bias, x, weight)
        return out if forms_product else out @ self.V

    def _product_costs_less(self, tokens: int) -> bool:
        """Whether U @ V and x @ (U @ V) take fewer multiplications than (x @ U) @ V."""
        formed = (self.in_features + 1) * self.rank * self.out_features + tokens * self.in_features * self.out_features
        return formed < tokens * self.rank * (self.in_features + self.out_features)

    def extra_repr(self) -> str:
        return f'in_features={self.in_features}, out_features={self.out_features}, rank={self.rank}'


class ChannelGate(nn.Module):
    """One weight in 0..1 per channel, computed with the text from the average-pooled and the max-pooled tokens.

    All weights are 0.5 at first, as published, because V of the last layer is zero. V of the first layer is zero as
    published, but random here: it is followed by a ReLU, whose gradient at exactly zero is zero, so V would stay zero
    and the gate would never depend on the image.

    Args:
        channels: C of the tokens.
        text_dim: Width of the text vector.
        reduction: The hidden layer has C / reduction units.
        rank: k of the dynamic layers.
        norm: Whether the inputs are normalised (our design): both pooled vectors to length 1 (a LayerNorm, divided by
            the root of C) and the text vector to length 1, so that the hidden layer's inputs have about size 1 whatever
            the sizes of C and of the tokens. As published they are not; their size is then the tokens' times the root
            of C and grows within tens of steps, until no hidden unit depends on the image (all on the flat side of the
            ReLU) or the gates are 0 or 1. With ``norm`` the hidden layer has a GELU, which has no flat side there.
        limit: Limit of the logits, see :func:`limit_logits`; None for none, as published.
    """

    def __init__(
        self,
        channels: int,
        text_dim: int,
        reduction: int = 16,
        rank: int = 30,
        norm: bool = False,
        limit: float | None = None,
    ) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.norm = nn.LayerNorm(channels) if norm else None
        self.squeeze = DynamicLinear(channels, hidden, text_dim, rank, zero_init=False, unit_text=norm)
        self.excite = DynamicLinear(hidden, channels, text_dim, rank, unit_text=norm)
        self.limit = limit

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, N, C], sentence [B, D] -> gate [B, 1, C]."""
        pooled = mean_and_maximum(x)  # [B, 2, C]: both go through the same MLP
        if self.norm is None:
            hidden = F.relu(self.squeeze(pooled, sentence))
        else:
            hidden = F.gelu(self.squeeze(self.norm(pooled) * pooled.shape[-1] ** -0.5, sentence))
        out = self.excite(hidden, sentence)
        return limit_logits(out.sum(dim=1, keepdim=True), self.limit).sigmoid()


class SpatialGate(nn.Module):
    """One weight in 0..1 per token, computed with the text.

    Args:
        channels: C of the tokens.
        text_dim: Width of the text vector.
        rank: k of the dynamic layer.
        limit: Limit of the logits, see :func:`limit_logits`; None for none, as published. With a limit, no token is
            removed completely, so later stages still see what is around the object.
    """

    def __init__(self, channels: int, text_dim: int, rank: int = 30, limit: float | None = None) -> None:
        super().__init__()
        self.score = DynamicLinear(channels, 1, text_dim, rank)
        self.limit = limit

    def forward(self, x: Tensor, sentence: Tensor, channels: Tensor | None = None) -> Tensor:
        """x [B, N, C], sentence [B, D] -> gate [B, N, 1], of x multiplied by ``channels`` [B, 1, C] if given."""
        return limit_logits(self.score(x, sentence, channels), self.limit).sigmoid()


def limit_logits(logits: Tensor, limit: float | None) -> Tensor:
    """Logits of any size -> logits between -limit and limit: z / (1 + abs(z) / limit).

    The slope at 0 is 1, and decreases with the square of z, not exponentially as that of a sigmoid or tanh, so a gate
    whose logit is far too large still learns.
    """
    return logits if limit is None else logits / (1 + logits.abs() / limit)


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
        gate_norm: Whether the channel gate normalises its inputs (:class:`ChannelGate`); not as published.
        gate_limit: Limit of the logits of both gates (:func:`limit_logits`); None, as published, for none.

    Raises:
        ValueError: If ``gate_limit`` is not greater than 0.
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
        gate_norm: bool = False,
        gate_limit: float | None = None,
    ) -> None:
        super().__init__()
        if gate_limit is not None and not (isinstance(gate_limit, int | float) and gate_limit > 0):
            raise UserError(f'gate_limit is a number greater than 0, or None for no limit, not {gate_limit!r}.')
        self.text_dim = text_dim
        self.channel = ChannelGate(channels, text_dim, reduction, rank, gate_norm, gate_limit) if channel_gate else None
        self.spatial = SpatialGate(channels, text_dim, rank, gate_limit) if spatial_gate else None

    def forward(self, x: Tensor, sentence: Tensor, twin: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """x [B, N, C], sentence [B, D] -> [B, N, C].

        With ``twin`` [B, N, C], other values of the same tokens, the result is a pair: x, and twin multiplied by the
        same gates, each taken twice, so that new gates, which are 0.5, leave twin as it is.
        """
        if sentence.shape[-1] != self.text_dim:
            raise UserError(
                f'A gate was built for sentence features of text_dim={self.text_dim}, and is given features of width '
                f'{sentence.shape[-1]}; set text_dim of the backbone and of the neck to that of the text encoder.'
            )
        channels = None if self.channel is None else self.channel(x, sentence)  # [B, 1, C]
        tokens = None if self.spatial is None else self.spatial(x, sentence, channels)  # [B, N, 1]
        gates = [gate for gate in (channels, tokens) if gate is not None]
        gated = multiply(x, gates)
        return gated if twin is None else (gated, multiply(twin, [2 * gate for gate in gates]))


def init_gates(gates: nn.Module) -> None:
    """Initialise QD-ATTs as Swin initialises linear layers, except where it does not apply; V is not changed."""
    for module in gates.modules():
        if isinstance(module, nn.Linear):
            trunc_normal_init(module, std=0.02, bias=0.0)
    for module in gates.modules():
        if isinstance(module, DynamicLinear) and module.unit_text:
            module.init_unit_decoder()

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

# The least length of a pixel that it is divided by, as in F.normalize.
EPS = 1e-12


class PixelTextAlignment(nn.Module):
    """How well each pixel of a map agrees with the sentence: a scaled cosine, as a mask logit."""

    def __init__(self, in_channels: int, text_dim: int, embed_dims: int) -> None:
        super().__init__()
        self.pixel = nn.Conv2d(in_channels, embed_dims, 1)
        self.sentence = nn.Linear(text_dim, embed_dims)
        self.scale = nn.Parameter(Tensor([5.0]))
        self.bias = nn.Parameter(Tensor([-1.0]))

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """x [B, C, h, w], sentence [B, D] -> logits [B, 1, h, w]."""
        pixel = self.pixel(x)
        text = F.normalize(self.sentence(sentence), dim=1)
        # The product is divided by the length of the pixel, instead of each of its channels.
        product = torch.einsum('bchw,bc->bhw', pixel, text)
        # In float32 also under autocast: in half precision, EPS would be zero.
        dtype = torch.promote_types(pixel.dtype, torch.float32)
        cosine = product / torch.linalg.vector_norm(pixel, dim=1, dtype=dtype).clamp(min=EPS)
        return cosine[:, None] * self.scale + self.bias


@MODELS.register_module()
class PixelGuidance(BaseModule):
    """Pixel supervision of intermediate stages, in training only (our design for the paper's central claim).

    UniQRNet's pixel supervision "directly guides the intermediate layers". Here each selected stage of the backbone and
    each selected level of the neck predicts for each pixel whether it agrees with the sentence; the target is the true
    mask. The stages are gated by the text, so the gradient reaches the gates without passing through the later layers.
    Nothing of this is computed at test time.

    With ``guide_gates`` the spatial gates are guided themselves: the score of a token, from which its gate is the
    sigmoid, is also a mask logit. Only one bias for all gates is added, because few pixels belong to the object: a gate
    of 0.5 stands for that small probability, not for one half, so the scores need not decrease everywhere. There is no
    learned scale: with one, the loss could decrease while the gates stay at 0.5, or with the object's gates the lower
    ones.

    Args:
        backbone_channels: Channels of the backbone's maps, finest first.
        neck_channels: Channels of the neck's maps.
        text_dim: D, the width of the sentence feature.
        backbone_stages: Which backbone maps are guided.
        neck_levels: Which neck maps are guided.
        embed_dims: Width in which pixels and sentence are compared.
        guide_gates: Whether to guide the spatial gates of these stages and levels, too, where they have one.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        backbone_channels: Sequence[int] = (96, 192, 384, 768),
        neck_channels: int = 256,
        text_dim: int = 768,
        backbone_stages: Sequence[int] = (0, 1, 2, 3),
        neck_levels: Sequence[int] = (0, 1, 2),
        embed_dims: int = 64,
        guide_gates: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        channels = {f'backbone{i}': backbone_channels[i] for i in backbone_stages}
        channels |= {f'neck{i}': neck_channels for i in neck_levels}
        self.alignments = ModuleDict(
            {name: PixelTextAlignment(c, text_dim, embed_dims) for name, c in channels.items()}
        )
        self.guide_gates = guide_gates
        self.gate_bias = nn.Parameter(Tensor([-2.0])) if guide_gates else None

    def forward(
        self,
        stages: Sequence[Tensor],
        levels: Sequence[Tensor],
        sentence: Tensor,
        gate_scores: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Mask logits [B, 1, h, w] of each guided map and gate, by name: ``backbone{i}``, ``gate_backbone{i}``, ...

        Args:
            stages: Maps of the backbone, [B, C_i, h, w], finest first.
            levels: Maps of the neck, [B, C, h, w], finest first.
            sentence: [B, D].
            gate_scores: With ``guide_gates``, the scores [B, 1, h, w] of the spatial gates, by the names of their maps.

        Raises:
            ValueError: With ``guide_gates``, if no guided map has a spatial gate.
        """
        maps = {f'backbone{i}': x for i, x in enumerate(stages)} | {f'neck{i}': x for i, x in enumerate(levels)}
        self._check(maps)
        logits = {name: alignment(maps[name], sentence) for name, alignment in self.alignments.items()}
        if self.gate_bias is not None:
            guided = {name: score for name, score in (gate_scores or {}).items() if name in self.alignments}
            if not guided:
                raise UserError(
                    f'PixelGuidance: guide_gates=True, but none of the guided maps ({", ".join(self.alignments)}) has '
                    'a spatial gate; set guide_gates=False, or spatial_gate=True in the backbone or the neck.'
                )
            logits |= {f'gate_{name}': score + self.gate_bias for name, score in guided.items()}
        return logits

    def _check(self, maps: Mapping[str, Tensor]) -> None:
        missing = [name for name in self.alignments if name not in maps]
        if missing:
            raise UserError(
                f'PixelGuidance: there is no map {", ".join(missing)}; backbone_stages and neck_levels name the maps '
                f'that the backbone and the neck give, here {", ".join(maps)}.'
            )
        for name, alignment in self.alignments.items():
            if maps[name].shape[1] != alignment.pixel.in_channels:
                raise UserError(
                    f'PixelGuidance was built for {alignment.pixel.in_channels} channels of {name}, which has '
                    f'{maps[name].shape[1]}; set backbone_channels and neck_channels to those of the backbone and the '
                    'neck.'
                )

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.layers import MLP, inverse_sigmoid
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS

from .mask_branch import merge_maps

# References are clamped to this range: outside it the sigmoid is almost flat, and the box around an untrained mask may
# be the whole canvas.
REFERENCE_RANGE = (0.02, 0.98)


@MODELS.register_module()
class BoxBranch(BaseModule):
    """The box from the [REG] token, as in TransVG and QRNet: a three-layer MLP and a sigmoid.

    Args:
        embed_dims: d, the width of [REG].
        num_layers: Layers of the MLP.
        init_cfg: mmengine initialisation.
    """

    def __init__(self, embed_dims: int = 256, num_layers: int = 3, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.mlp = MLP(embed_dims, embed_dims, 4, num_layers)

    def forward(
        self,
        reg: Tensor,
        reference: Tensor | None = None,
        maps: Sequence[Tensor] | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """reg [B, d] -> boxes [B, 4], cxcywh, normalised by the canvas (0..1).

        With ``reference`` (boxes in the same format), the MLP predicts the difference from it, in logits. ``maps`` and
        ``padding_mask`` are passed to every box branch; this one does not use them.
        """
        logits = self.mlp(reg)
        # At least float32, also under autocast: half precision is too coarse for boxes.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if reference is not None:
            logits = logits + inverse_sigmoid(reference.clamp(*REFERENCE_RANGE))
        return logits.sigmoid()


# Finite, because a very thin image may contain no token's centre: with -inf for all tokens, the box would be NaN.
PADDING_LOGIT = -1e4


@MODELS.register_module()
class PointingBoxBranch(BaseModule):
    """The box from attention of [REG] over the visual tokens (our design).

    TransVG's branch regresses four coordinates from [REG] alone. The encoder's attention adds positions to queries and
    keys only, so [REG] receives what the tokens look like, but not where they are. Here [REG] attends to the visual
    tokens once more. The mean of their positions, weighted by this attention, is the initial centre of the box; an MLP
    predicts from [REG] and the weighted mean of the tokens how the box differs from it. Trained on boxes alone, this
    learns much faster than TransVG's branch (figures are on the ablations page).

    Args:
        embed_dims: d, the width of the encoder's tokens.
        num_layers: Layers of the MLP.
        first_size: Initial width and height of the box if there is no reference, as a share of the canvas.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self, embed_dims: int = 256, num_layers: int = 3, first_size: float = 0.2, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.query = nn.Linear(embed_dims, embed_dims)
        self.key = nn.Linear(embed_dims, embed_dims)
        self.mlp = MLP(2 * embed_dims, embed_dims, 4, num_layers)
        self.first_size = first_size

    def forward(self, reg: Tensor, reference: Tensor | None, maps: Sequence[Tensor], padding_mask: Tensor) -> Tensor:
        """Boxes [B, 4], cxcywh, normalised by the canvas (0..1).

        reg [B, d]; reference [B, 4], initial boxes instead of those from the attention; maps, the encoder's visual maps
        [B, d, h, w], finest first; padding_mask [B, H, W] of the canvas, True where there is no image.
        """
        x = merge_maps(maps)
        tokens = x.flatten(2).transpose(1, 2)  # [B, N, d]
        attention = self.attend(reg, tokens, F.interpolate(padding_mask[:, None].float(), size=x.shape[-2:]).flatten(1))
        attended = torch.einsum('bn,bnd->bd', attention.to(tokens.dtype), tokens)
        if reference is None:
            centre = attention @ cell_centres(x)
            reference = torch.cat([centre, torch.full_like(centre, self.first_size)], dim=1)
        # float32 also under autocast: half precision is too coarse for boxes.
        logits = self.mlp(torch.cat([reg, attended], dim=1)).float()
        return (logits + inverse_sigmoid(reference.clamp(*REFERENCE_RANGE))).sigmoid()

    def attend(self, reg: Tensor, tokens: Tensor, padding: Tensor) -> Tensor:
        """reg [B, d], tokens [B, N, d], padding [B, N] (1 = no image) -> attention [B, N], float32, which sums to 1."""
        logits = torch.einsum('bd,bnd->bn', self.query(reg), self.key(tokens)).float() / tokens.shape[-1] ** 0.5
        return logits.masked_fill(padding > 0, PADDING_LOGIT).softmax(1)


def cell_centres(x: Tensor) -> Tensor:
    """The centres (x, y) of the cells of a map [B, C, h, w], row by row, in 0..1: float32 [h * w, 2]."""
    height, width = x.shape[-2:]
    ys = (torch.arange(height, device=x.device) + 0.5) / height
    xs = (torch.arange(width, device=x.device) + 0.5) / width
    return torch.stack(torch.meshgrid(xs, ys, indexing='xy'), dim=-1).flatten(0, 1)

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.layers import MLP, inverse_sigmoid
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS

from .mask_branch import merge_maps

# Where the sigmoid is not yet flat: the box around an untrained mask may be the whole canvas.
STEEP = (0.02, 0.98)


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

        With a reference, boxes like these, the MLP says how the box differs from it, in logits. What every box branch
        is given besides, the encoder's maps and the canvas's padding mask, this one has no use for.
        """
        logits = self.mlp(reg)
        # At least float32, whatever autocast says: half precision has too few digits for boxes.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if reference is not None:
            logits = logits + inverse_sigmoid(reference.clamp(*STEEP))
        return logits.sigmoid()


# A finite one: an image so thin that no token's middle lies in it would have no place to point at, and NaN boxes.
NOWHERE = -1e4


@MODELS.register_module()
class PointingBoxBranch(BaseModule):
    """The box from where [REG] points: a place among the visual tokens, and what stands there (our design).

    TransVG's branch has to recite four coordinates from [REG] alone, into which the encoder's attention carries what
    tokens look like, but not where they are, since positions join queries and keys only. Here [REG] attends to the
    visual tokens once more; the mean of their places under that attention is the box's first centre, and an MLP says
    from [REG] and the mean of the tokens how the box differs from it. So boxes alone can teach a network in a time in
    which [REG]'s coordinates hardly begin to (the ablations page has the figures).

    Args:
        embed_dims: d, the width of the encoder's tokens.
        num_layers: Layers of the MLP.
        first_size: Width and height that a box starts with where no reference is given, in parts of the canvas.
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

        reg [B, d]; reference [B, 4], boxes from which to start instead; maps, the encoder's visual maps [B, d, h, w],
        finest first; padding_mask [B, H, W] of the canvas, True where there is no image.
        """
        x = merge_maps(maps)
        tokens = x.flatten(2).transpose(1, 2)  # [B, N, d]
        attention = self.attend(reg, tokens, F.interpolate(padding_mask[:, None].float(), size=x.shape[-2:]).flatten(1))
        seen = torch.einsum('bn,bnd->bd', attention.to(tokens.dtype), tokens)
        if reference is None:
            centre = attention @ places(x)
            reference = torch.cat([centre, torch.full_like(centre, self.first_size)], dim=1)
        # float32 whatever autocast says: half precision has too few digits for boxes.
        logits = self.mlp(torch.cat([reg, seen], dim=1)).float() + inverse_sigmoid(reference.clamp(*STEEP))
        return logits.sigmoid()

    def attend(self, reg: Tensor, tokens: Tensor, padding: Tensor) -> Tensor:
        """reg [B, d], tokens [B, N, d], padding [B, N] (1 = no image) -> attention [B, N], of sum 1, in float32."""
        logits = torch.einsum('bd,bnd->bn', self.query(reg), self.key(tokens)).float() / tokens.shape[-1] ** 0.5
        return logits.masked_fill(padding > 0, NOWHERE).softmax(1)


def places(x: Tensor) -> Tensor:
    """The cells' centres of a map [B, C, h, w], row by row: (x, y) in 0..1, float32 [h * w, 2]."""
    height, width = x.shape[-2:]
    ys = (torch.arange(height, device=x.device) + 0.5) / height
    xs = (torch.arange(width, device=x.device) + 0.5) / width
    return torch.stack(torch.meshgrid(xs, ys, indexing='xy'), dim=-1).flatten(0, 1)

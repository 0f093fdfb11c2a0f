from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.layers import MLP, coordinate_to_encoding, inverse_sigmoid
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

from .mask_branch import merge_maps

# References are clamped to these ranges of the canvas, because the sigmoid is flat near 0 and 1. Both leave a box of 4
# pixels in the corner of a canvas of 640 as it is. The upper limit of sizes is lower: the box around an untrained mask
# may be the whole canvas, and must still be able to shrink.
CENTRE_RANGE = (0.003, 0.997)
SIZE_RANGE = (0.005, 0.98)


def to_logits(boxes: Tensor) -> Tensor:
    """Boxes [..., 4], cxcywh in 0..1 -> their logits, limited so that a gradient remains."""
    centres, sizes = boxes[..., :2].clamp(*CENTRE_RANGE), boxes[..., 2:].clamp(*SIZE_RANGE)
    return inverse_sigmoid(torch.cat([centres, sizes], dim=-1))


# The logit of the second box's weight before training, 0.05: the start is almost the first box.
FIRST_MIX_LOGIT = -3.0


class TwoReferences(nn.Module):
    """Makes two reference boxes known to the box branch, and mixes them into one start (our design).

    The first reference is the box around the surest region of the mask, the second the box around everything that the
    mask is sure of (:func:`boxes_around`). An object in several parts needs the second, two objects the first, and only
    [REG] knows which it is. The boxes are embedded as DAB-DETR embeds its queries' boxes, and added to [REG].

    Args:
        embed_dims: d, the width of [REG], a multiple of 4.

    Raises:
        UserError: If ``embed_dims`` is not a multiple of 4.
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        if embed_dims % 4:
            raise UserError(f'With sees_reference=True, embed_dims must be a multiple of 4, not {embed_dims}.')
        self.num_feats = embed_dims // 2
        self.embed = nn.Linear(8 * self.num_feats, embed_dims)
        self.mix = MLP(embed_dims, embed_dims, 1, 2)

    def forward(self, reg: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
        """reg [B, d], references [B, 2, 4] (cxcywh, 0..1) -> [REG] plus both [B, d], logits of the start [B, 4]."""
        encoding = coordinate_to_encoding(references, self.num_feats)  # [B, 2, 4 * num_feats]
        reg = reg + self.embed(encoding.flatten(1).to(reg.dtype))
        weight = (self.mix(reg).float() + FIRST_MIX_LOGIT).sigmoid()
        first, second = to_logits(references).unbind(1)
        return reg, torch.lerp(first, second, weight.to(first.dtype))


@MODELS.register_module()
class BoxBranch(BaseModule):
    """The box from the [REG] token, as in TransVG and QRNet: a three-layer MLP and a sigmoid.

    Args:
        embed_dims: d, the width of [REG].
        num_layers: Layers of the MLP.
        sees_reference: Whether the branch takes two reference boxes, sees them, and learns how to mix them
            (:class:`TwoReferences`, our design). If not, a reference is only added to.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_layers: int = 3,
        sees_reference: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.mlp = MLP(embed_dims, embed_dims, 4, num_layers)
        self.sees_reference = sees_reference
        if sees_reference:
            self.references = TwoReferences(embed_dims)

    def forward(
        self,
        reg: Tensor,
        reference: Tensor | None = None,
        maps: Sequence[Tensor] | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """reg [B, d] -> boxes [B, 4], cxcywh, normalised by the canvas (0..1).

        With ``reference`` (boxes in the same format, [B, 4]; with ``sees_reference`` [B, 2, 4]), the MLP predicts the
        difference from it, in logits. ``maps`` and ``padding_mask`` are passed to every box branch; this one does not
        use them.
        """
        start: Tensor | None = None
        if self.sees_reference:
            assert reference is not None, 'UniQRNetHead refuses sees_reference without box_from_mask'
            reg, start = self.references(reg, reference)
        elif reference is not None:
            start = to_logits(reference)
        logits = self.mlp(reg)
        # At least float32, also under autocast: half precision is too coarse for boxes.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return (logits if start is None else logits + start).sigmoid()


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
        sees_reference: As in :class:`BoxBranch`.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_layers: int = 3,
        first_size: float = 0.2,
        sees_reference: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.query = nn.Linear(embed_dims, embed_dims)
        self.key = nn.Linear(embed_dims, embed_dims)
        self.mlp = MLP(2 * embed_dims, embed_dims, 4, num_layers)
        self.first_size = first_size
        self.sees_reference = sees_reference
        if sees_reference:
            self.references = TwoReferences(embed_dims)

    def forward(self, reg: Tensor, reference: Tensor | None, maps: Sequence[Tensor], padding_mask: Tensor) -> Tensor:
        """Boxes [B, 4], cxcywh, normalised by the canvas (0..1).

        reg [B, d]; reference [B, 4] (with ``sees_reference`` [B, 2, 4]), initial boxes instead of those from the
        attention; maps, the encoder's visual maps [B, d, h, w], finest first; padding_mask [B, H, W] of the canvas,
        True where there is no image.
        """
        x = merge_maps(maps)
        tokens = x.flatten(2).transpose(1, 2)  # [B, N, d]
        attention = self.attend(reg, tokens, F.interpolate(padding_mask[:, None].float(), size=x.shape[-2:]).flatten(1))
        attended = torch.einsum('bn,bnd->bd', attention.to(tokens.dtype), tokens)
        if self.sees_reference:
            assert reference is not None, 'UniQRNetHead refuses sees_reference without box_from_mask'
            reg, start = self.references(reg, reference)
        elif reference is not None:
            start = to_logits(reference)
        else:
            centre = attention @ cell_centres(x)
            start = to_logits(torch.cat([centre, torch.full_like(centre, self.first_size)], dim=1))
        # float32 also under autocast: half precision is too coarse for boxes.
        logits = self.mlp(torch.cat([reg, attended], dim=1)).float()
        return (logits + start).sigmoid()

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

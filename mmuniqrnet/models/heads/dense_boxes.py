"""A box from every visual token, and the choice of one of them (our design)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.layers import MLP
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps, bbox_xyxy_to_cxcywh
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS

from .box_branches import PADDING_LOGIT, cell_centres
from .mask_branch import merge_maps

# Of a Gaussian around the centre of a true box: its deviation as a share of the box's sides, and the least, in cells,
# so that a box that lies between the centres of cells has a cell, too.
SPREAD = 1 / 6
LEAST_SPREAD = 0.5
# Subtracted from logits, more than the Gaussian's are on a canvas of 50 cells.
FAR = 1e4
# Boxes that overlap the chosen one by more are averaged with it.
SAME_BOX = 0.6


class DenseBoxes(NamedTuple):
    """The boxes of all N visual tokens of B expressions, and the answer.

    Attributes:
        boxes: [B, 4], the answer, cxcywh, 0..1 of the canvas.
        choice: [B, N] float32, logits of the choice; very low where there is no image.
        candidates: [B, N, 4] float32, the box of each token, cxcywh, 0..1 of the canvas.
        centres: [N, 2] float32, the tokens' centres (x, y), 0..1 of the canvas.
        cell: [2] float32, the width and height of a token's cell, 0..1 of the canvas.
    """

    boxes: Tensor
    choice: Tensor
    candidates: Tensor
    centres: Tensor
    cell: Tensor

    def targets(self, boxes: Tensor) -> Tensor:
        """How well each token fits true boxes [B, 4] (cxcywh, 0..1): weights [B, N] that add up to 1.

        They follow a Gaussian around the centre of the box, as wide as the box is, cut at its edges. If no token is
        within it, for example where the image begins in the middle of a cell, the nearest ones count.
        """
        centre, size = boxes[:, None].float().split(2, dim=2)  # [B, 1, 2] each
        offset = (self.centres - centre).abs()  # [B, N, 2]
        deviation = torch.maximum(SPREAD * size, LEAST_SPREAD * self.cell)
        density = -(offset / deviation).square().sum(2) / 2
        outside = (offset > torch.maximum(size, self.cell) / 2).any(2)
        return (density - FAR * outside - 10 * FAR * (self.choice <= PADDING_LOGIT)).softmax(1)


@MODELS.register_module()
class DenseBoxBranch(BaseModule):
    """Every visual token predicts a box around itself, and [REG] chooses among the tokens (our design).

    As in one-stage detectors (FCOS: Tian et al. 2019) and in those of expressions (RCCF: Liao et al. 2020), a token
    predicts how far the four sides of the object are from its own centre, so what is learned about an object at one
    place holds at every other. Regression from [REG], as in TransVG, has to learn this from the data. The choice is a
    classification of the tokens, with the product of [REG] and token as logit. The answer is the box of the token with
    the largest logit, averaged, by probability, with the tokens' boxes that overlap it much.

    ``UniQRNetHead`` trains the choice with ``loss_box_choice``, and the box losses on the boxes of all tokens near the
    object's centre. The branch starts from no reference box: ``box_from_mask`` of the head has to be False.

    Args:
        embed_dims: d, the width of the encoder's tokens.
        num_layers: Layers of the MLP that predicts a token's box.
        first_side: Initial distance of a box's sides from its token's centre, as a share of the canvas.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self, embed_dims: int = 256, num_layers: int = 3, first_side: float = 0.15, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.query = nn.Linear(embed_dims, embed_dims)
        self.key = nn.Linear(embed_dims, embed_dims)
        self.sides = MLP(embed_dims, embed_dims, 4, num_layers)
        self.register_buffer('first_logit', torch.tensor(first_side).logit(), persistent=False)

    def forward(
        self, reg: Tensor, reference: Tensor | None, maps: Sequence[Tensor], padding_mask: Tensor
    ) -> DenseBoxes:
        """reg [B, d]; reference, None; maps [B, d, h, w], finest first; padding_mask [B, H, W], True without image."""
        assert reference is None, 'UniQRNetHead refuses box_from_mask with this branch'
        x = merge_maps(maps)
        tokens = x.flatten(2).transpose(1, 2)  # [B, N, d]
        padding = F.interpolate(padding_mask[:, None].float(), size=x.shape[-2:]).flatten(1)
        # At least float32, also under autocast, which would multiply matrices in half precision: it is too coarse for
        # boxes, and many logits would be equal.
        query, key, sides = (at_least_float32(t) for t in (self.query(reg), self.key(tokens), self.sides(tokens)))
        choice = (query[:, None] * key).sum(2) / tokens.shape[-1] ** 0.5
        choice = choice.masked_fill(padding > 0, PADDING_LOGIT)
        sides = (sides + self.first_logit).sigmoid()  # [B, N, 4]: left, top, right, bottom
        centres = cell_centres(x)
        corners = torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], dim=2)
        candidates = bbox_xyxy_to_cxcywh(corners)
        cell = centres.new_tensor([1 / x.shape[-1], 1 / x.shape[-2]])
        return DenseBoxes(chosen_box(choice, candidates), choice, candidates, centres, cell)


def at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def chosen_box(choice: Tensor, candidates: Tensor) -> Tensor:
    """The most probable of boxes [B, N, 4] (cxcywh), averaged with those that overlap it much: [B, 4].

    choice [B, N], the logits of the probabilities.
    """
    best = choice.argmax(1)[:, None, None]
    corners = bbox_cxcywh_to_xyxy(candidates)
    overlap = bbox_overlaps(corners.gather(1, best.expand(-1, 1, 4)), corners)[:, 0]  # [B, N]
    # mmdet's overlap of a very small box with itself is less than 1.
    overlap = overlap.scatter(1, best[..., 0], 1.0)
    weight = choice.masked_fill(overlap < SAME_BOX, PADDING_LOGIT).softmax(1)
    return (weight[..., None] * candidates).sum(1)  # a product of matrices would be in half precision under autocast

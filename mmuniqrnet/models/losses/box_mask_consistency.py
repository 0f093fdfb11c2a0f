import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS


@MODELS.register_module()
class BoxMaskConsistencyLoss(nn.Module):
    """Compares the extent of the predicted box with that of the predicted mask (our design).

    Both are projected onto the x and the y axis, as BoxInst (Tian et al. 2021) does with a true box: the mask to the
    largest probability in each column and each row, the box to the share of each column and row that it covers. The
    loss is one minus the Dice coefficient of the two projections, averaged over the axes: 0 if the box is tight around
    a certain mask, 1 if they do not overlap. The share changes continuously with the edges of the box, so that box and
    mask both have a gradient: an edge moves towards columns that the mask fills and away from empty ones, and the most
    probable pixel of each column follows the box. If box and mask do not overlap, only the mask has a gradient.

    As ``loss_consistency`` of the head, no ground truth is used, so an item with only a box also trains the mask, and
    the other way round. As ``loss_mask_extent``, the boxes are the true ones, and only the mask is trained.

    Args:
        loss_weight: Multiplies the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, boxes: Tensor, mask_logits: Tensor, inside: Tensor, weight: Tensor, avg_factor: Tensor) -> Tensor:
        """The weighted sum over samples / ``avg_factor``.

        boxes [B, 4] (cxcywh, 0..1 of the canvas); mask_logits [B, 1, h, w] over the canvas; inside [B, 1, h, w], the
        share of each pixel that is image, to exclude padding; weight [B].
        """
        height, width = mask_logits.shape[-2:]
        probs = mask_logits.sigmoid() * inside
        x1, y1, x2, y2 = (bbox_cxcywh_to_xyxy(boxes) * boxes.new_tensor([width, height, width, height])).unbind(1)
        loss = 0.0
        for axis, first, last in ((2, x1, x2), (3, y1, y2)):
            mask = probs.amax(axis).squeeze(1)  # [B, w], then [B, h]
            box = covered(first, last, mask.shape[1]) * inside.amax(axis).squeeze(1)
            dice = 2 * (mask * box).sum(1) / ((mask**2).sum(1) + (box**2).sum(1)).clamp(min=1e-6)
            loss = loss + (1 - dice) / 2
        return self.loss_weight * (loss * weight).sum() / avg_factor


def covered(first: Tensor, last: Tensor, n: int) -> Tensor:
    """The share of each of n pixels in a row that lies between two coordinates, in pixels: [B], [B] -> [B, n]."""
    start = torch.arange(n, device=first.device, dtype=first.dtype)
    return (torch.minimum(last[:, None], start + 1) - torch.maximum(first[:, None], start)).clamp(0, 1)

import torch.nn.functional as F
from mmdet.models.layers import MLP
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from mmengine.model import BaseModule
from torch import Tensor

from mmuniqrnet.registry import MODELS

from .targets import Targets


@MODELS.register_module()
class ScoreBranch(BaseModule):
    """The score of the answer: the logit of the predicted IoU of the box, from the [REG] token.

    Args:
        embed_dims: d, the width of [REG].
        init_cfg: mmengine initialisation.
    """

    def __init__(self, embed_dims: int = 256, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.mlp = MLP(embed_dims, embed_dims, 1, 2)

    def forward(self, reg: Tensor) -> Tensor:
        """reg [B, d] -> logits [B]."""
        return self.mlp(reg).squeeze(-1).float()


def box_quality(boxes: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """IoU of boxes [B, 4] (cxcywh) with the true ones, and whether it is known: both [B]."""
    iou = bbox_overlaps(bbox_cxcywh_to_xyxy(boxes), bbox_cxcywh_to_xyxy(targets.boxes), is_aligned=True)
    return iou, targets.has_box


def mask_quality(logits: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """IoU of mask logits [B, 1, h, w] with the true masks, without padding, and whether it is known: both [B]."""
    truth, inside = (
        F.adaptive_avg_pool2d(x, logits.shape[-2:]).flatten(1) > 0.5 for x in (targets.masks, targets.inside)
    )
    guess = (logits.flatten(1) > 0) & inside
    union = (truth | guess).sum(1).clamp(min=1)
    return (truth & guess).sum(1) / union, targets.has_mask

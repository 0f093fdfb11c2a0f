"""How good the answers of a batch are, which the score learns to say."""

import torch.nn.functional as F
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from torch import Tensor

from .targets import Targets


def box_quality(boxes: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """IoU of boxes [B, 4] (cxcywh) with the true ones, and where it is known: both [B]."""
    iou = bbox_overlaps(bbox_cxcywh_to_xyxy(boxes), bbox_cxcywh_to_xyxy(targets.boxes), is_aligned=True)
    return iou, targets.has_box


def mask_quality(logits: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """IoU of masks, as logits [B, 1, h, w], with the true ones, padding left out; and where it is known: both [B]."""
    truth, inside = (
        F.adaptive_avg_pool2d(x, logits.shape[-2:]).flatten(1) > 0.5 for x in (targets.masks, targets.inside)
    )
    guess = (logits.flatten(1) > 0) & inside
    union = (truth | guess).sum(1).clamp(min=1)
    return (truth & guess).sum(1) / union, targets.has_mask

from inspect import signature

import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from .box_refiner import BoxRefiner, RefinerInputs, jittered
from .dense_boxes import DenseBoxes
from .targets import Targets

# The lower limit of the mean number of items per rank; not 1, because there may be fewer annotated items than ranks.
EPS = 1e-6
# A predicted box that overlaps the true one by less is on something else: how it should change cannot be seen from
# the features around it.
NEAR = 0.2


def box_losses(boxes: Tensor, targets: Targets, l1: nn.Module | None, giou: nn.Module | None) -> dict[str, Tensor]:
    """Losses of boxes [B, 4] (cxcywh, 0..1), averaged over the samples (of all ranks) that have a true box."""
    count = reduce_mean(targets.has_box.sum()).clamp(min=EPS)
    return _losses_of(boxes, targets.boxes, targets.has_box, count, l1, giou)


def dense_box_losses(
    dense: DenseBoxes, targets: Targets, l1: nn.Module | None, giou: nn.Module | None, choice_weight: float | None
) -> dict[str, Tensor]:
    """Losses of the choice among tokens, and of their boxes by how well each token fits the true box.

    Averaged over the samples (of all ranks) that have a true box.
    """
    count = reduce_mean(targets.has_box.sum()).clamp(min=EPS)
    with torch.no_grad():
        fit = dense.targets(targets.boxes) * targets.has_box[:, None]  # [B, N]
    # The divergence instead of the cross-entropy, whose lowest value is above zero: strategies of LossBalanceHook
    # weight a task by the size of its losses.
    divergence = F.kl_div(dense.choice.log_softmax(1), fit, reduction='sum')
    assert choice_weight is not None, 'UniQRNetHead requires it with DenseBoxBranch'
    losses = {'loss_box_choice': divergence / count * choice_weight}
    truth = targets.boxes[:, None].expand_as(dense.candidates).flatten(0, 1)
    return losses | _losses_of(dense.candidates.flatten(0, 1), truth, fit.flatten(), count, l1, giou)


def refined_box_losses(
    refiner: BoxRefiner, inputs: RefinerInputs, targets: Targets, l1: nn.Module | None, giou: nn.Module | None
) -> dict[str, Tensor]:
    """Losses of all steps of a refiner, from boxes near the object and from true boxes, moved and scaled.

    Averaged over these boxes (of all ranks) and the steps.
    """
    if l1 is None and giou is None:
        return {}
    boxes = inputs.boxes.detach()
    starts = torch.cat([boxes[:, None], jittered(targets.boxes, refiner.num_jittered)], dim=1)  # [B, K, 4]
    overlap = bbox_overlaps(bbox_cxcywh_to_xyxy(boxes), bbox_cxcywh_to_xyxy(targets.boxes), is_aligned=True)
    weight = targets.has_box[:, None].repeat(1, starts.shape[1])
    weight[:, 0] *= overlap >= NEAR
    steps = torch.stack(refiner(starts, inputs.reg, inputs.features))  # [steps, B, K, 4]
    weight = weight.expand(steps.shape[:-1])
    count = reduce_mean(weight.sum()).clamp(min=EPS)
    truth = targets.boxes[:, None].expand_as(steps)
    flat = steps.flatten(0, 2), truth.flatten(0, 2), weight.flatten()
    return _losses_of(*flat, count, l1, giou, name='loss_box_refined')


def _losses_of(
    boxes: Tensor,
    truth: Tensor,
    weight: Tensor,
    count: Tensor,
    l1: nn.Module | None,
    giou: nn.Module | None,
    name: str = 'loss_box',
) -> dict[str, Tensor]:
    """boxes [n, 4] against truth [n, 4], both cxcywh, with weight [n]; the sum over ``count``."""
    losses = {}
    if l1 is not None:
        losses[f'{name}_l1'] = weighted_mean(l1, boxes, truth, weight[:, None].expand_as(boxes), count)
    if giou is not None:
        corners = bbox_cxcywh_to_xyxy(boxes), bbox_cxcywh_to_xyxy(truth)
        losses[f'{name}_giou'] = weighted_mean(giou, *corners, weight, count)
    return losses


def weighted_mean(loss: nn.Module, pred: Tensor, target: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """The sum of a loss of boxes [B, 4], times ``weight`` ([B, 4] or [B], as the loss is), over ``count``.

    mmdet's losses ask whether any weight is above zero, for which a GPU waits for the host; so they are asked for the
    loss of each sample. A loss that cannot give it is called with the weights.
    """
    if 'reduction_override' not in signature(loss.forward).parameters:
        return loss(pred, target, weight, avg_factor=count)
    values = loss(pred, target, reduction_override='none')
    return (values * weight).sum() / (count + torch.finfo(torch.float32).eps)  # as mmdet divides

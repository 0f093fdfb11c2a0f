from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from torch import Tensor

from mmuniqrnet.structures import Placement


class Targets(NamedTuple):
    """The training targets of B expressions, on the canvas.

    Attributes:
        boxes: [B, 4], cxcywh, normalised by the canvas; the smallest box around all target objects.
        has_box: [B] float, 0 if the box is not annotated, or if there is no target object.
        masks: [B, 1, H, W] float in 0..1, the union of all target objects.
        has_mask: [B] float, 0 if the mask is not annotated.
        exists: [B] float, 0 if the expression fits no object.
        inside: [B, 1, H, W] float, 1 on the image, 0 on padding.
    """

    boxes: Tensor
    has_box: Tensor
    masks: Tensor
    has_mask: Tensor
    exists: Tensor
    inside: Tensor


def make_targets(data_samples: Sequence[DetDataSample], device: torch.device) -> Targets:
    """Targets from the samples' ``gt_instances`` (boxes in canvas pixels, bitmap masks of canvas size)."""
    boxes, has_box, masks, has_mask, exists, inside = [], [], [], [], [], []
    for sample in data_samples:
        truth, meta = sample.gt_instances, sample.metainfo
        height, width = meta['batch_input_shape']
        some = len(truth) > 0
        if some and 'bboxes' in truth and meta.get('has_box', True):
            box = torch.cat([truth.bboxes[:, :2].amin(0), truth.bboxes[:, 2:].amax(0)])
            boxes.append(bbox_xyxy_to_cxcywh(box[None])[0].float() / box.new_tensor([width, height, width, height]))
            has_box.append(1.0)
        else:
            boxes.append(torch.tensor([0.5, 0.5, 0.5, 0.5], device=device))
            has_box.append(0.0)
        known = meta.get('has_mask', True) and (not some or 'masks' in truth)
        mask = torch.zeros(height, width, device=device)
        if known and some:
            bitmap = torch.from_numpy(truth.masks.to_ndarray().any(0)).to(device, torch.float32)
            mask[: bitmap.shape[0], : bitmap.shape[1]] = bitmap
        masks.append(mask)
        has_mask.append(float(known))
        exists.append(float(some))
        inside.append(~Placement.of(sample).padding_mask(device))
    return Targets(
        boxes=torch.stack(boxes).to(device),
        has_box=torch.tensor(has_box, device=device),
        masks=torch.stack(masks)[:, None],
        has_mask=torch.tensor(has_mask, device=device),
        exists=torch.tensor(exists, device=device),
        inside=torch.stack(inside)[:, None].float(),
    )

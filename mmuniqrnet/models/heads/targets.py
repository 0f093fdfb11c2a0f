from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from torch import Tensor

from mmuniqrnet.structures import Placement


@dataclass
class Targets:
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
    _shares: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def shares(self, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """``masks`` and ``inside``, averaged over the cells of a coarser grid: [B, 1, h, w] each.

        Many losses use the same grid, so the result for each size is kept.
        """
        height, width = size
        if (height, width) not in self._shares:
            self._shares[height, width] = (
                mean_of_cells(self.masks, (height, width)),
                mean_of_cells(self.inside, (height, width)),
            )
        return self._shares[height, width]


def make_targets(data_samples: Sequence[DetDataSample], device: torch.device) -> Targets:
    """Targets from the samples' ``gt_instances`` (boxes in canvas pixels, bitmap masks of canvas size)."""
    height, width = data_samples[0].metainfo['batch_input_shape']
    boxes, has_box, has_mask, exists = [], [], [], []
    # Filled on the CPU, where the bitmaps are, and moved as a whole, in bytes: a quarter of float32.
    masks = np.zeros((len(data_samples), 1, height, width), dtype=np.uint8)
    inside = np.zeros_like(masks)
    whole_canvas = torch.tensor([0.0, 0.0, width, height], device=device)
    for i, sample in enumerate(data_samples):
        truth, meta, placement = sample.gt_instances, sample.metainfo, Placement.of(sample)
        some = len(truth) > 0
        boxed = some and 'bboxes' in truth and meta.get('has_box', True)
        boxes.append(around(truth.bboxes) if boxed else whole_canvas)
        known = meta.get('has_mask', True) and (not some or 'masks' in truth)
        if known and some:
            bitmap = truth.masks.to_ndarray().any(0)
            masks[i, 0, : bitmap.shape[0], : bitmap.shape[1]] = bitmap
        (top, left), (image_height, image_width) = placement.offset, placement.img_shape
        inside[i, 0, top : top + image_height, left : left + image_width] = 1
        has_box.append(float(boxed))
        has_mask.append(float(known))
        exists.append(float(some))
    flags = torch.tensor([has_box, has_mask, exists], device=device)
    return Targets(
        boxes=bbox_xyxy_to_cxcywh(torch.stack(boxes)) / whole_canvas[2:].repeat(2),
        has_box=flags[0],
        masks=torch.from_numpy(masks).to(device).float(),
        has_mask=flags[1],
        exists=flags[2],
        inside=torch.from_numpy(inside).to(device).float(),
    )


def mean_of_cells(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map [B, 1, H, W], averaged over the cells of a grid of this size."""
    # Pooling to the same size would copy every pixel by itself.
    return x if x.shape[-2:] == size else F.adaptive_avg_pool2d(x, size)


def around(boxes: Tensor) -> Tensor:
    """The smallest box around boxes [n, 4], xyxy: float32 [4]."""
    boxes = boxes.float()
    return boxes[0] if len(boxes) == 1 else torch.cat([boxes[:, :2].amin(0), boxes[:, 2:].amax(0)])

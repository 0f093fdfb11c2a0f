"""Correct a box: sample the features around it, and predict how it differs from the object (our design)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.layers import MLP
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures.maps import require_channels
from mmuniqrnet.utils.errors import UserError

from .dense_boxes import at_least_float32
from .mask_branch import merge_maps, resized

# Sides of a start box are at least this share of the canvas, so that there is something to sample.
LEAST_SIDE = 0.005
# A step changes a side by a factor of 4 at most.
LARGEST_LOG_SCALE = math.log(4)
# How far `jittered` moves a centre, as a share of the side, and the logarithm of the factor of a side.
LARGEST_SHIFT = 0.35
LARGEST_LOG_FACTOR = 0.6


class RefinerInputs(NamedTuple):
    """What the losses of a refiner need.

    Attributes:
        boxes: [B, 4], the box branch's, cxcywh, 0..1 of the canvas.
        reg: [B, d].
        features: [B, c, h, w], see :meth:`BoxRefiner.features`.
    """

    boxes: Tensor
    reg: Tensor
    features: Tensor


@MODELS.register_module()
class BoxRefiner(BaseModule):
    """Corrects a box from the features inside and around it (our design).

    A box that is computed from one token is often on the right object without fitting it, above all if the object is
    small. As in two-stage detectors (Cascade R-CNN: Cai and Vasconcelos 2018), features are sampled on a grid over the
    box, enlarged a little so that the object's edges are within it. From them and [REG], an MLP predicts the change of
    centre and sides *relative to the box*, so what is learned holds for objects of every size. No gradient passes
    through the start box: where the object is, is learned by the box branch.

    ``UniQRNetHead`` trains it with the box losses, on the box branch's answers that are near the object, and on true
    boxes that were moved and scaled at random (:func:`jittered`), so that it learns from every sample from the
    beginning.

    Args:
        embed_dims: d, the width of the encoder's tokens.
        in_channels: Channels of the neck's maps.
        level: Index of the neck's map that is sampled; 0, the finest one, is the best for small objects.
        feat_channels: Channels of the sampled features.
        grid: Cells of the grid over the box, on each side; each is the mean of 2 x 2 samples.
        enlarged: The sides of the grid, relative to those of the box.
        num_steps: How many times a box is corrected; all steps have the same weights.
        num_jittered: True boxes, moved and scaled at random, for each sample in training.
        sees_mask: Whether the predicted mask is one of the features; needs a mask branch.
        norm_cfg: Normalisation of the convolutions.
        init_cfg: mmengine initialisation.

    Raises:
        UserError: If an argument is out of range.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        in_channels: int = 256,
        level: int = 0,
        feat_channels: int = 64,
        grid: int = 7,
        enlarged: float = 1.6,
        num_steps: int = 2,
        num_jittered: int = 3,
        sees_mask: bool = True,
        norm_cfg: dict | None = dict(type='GN', num_groups=8),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        limits = dict(level=0, grid=1, num_steps=1, num_jittered=0, enlarged=1)
        for name, value in dict(
            level=level, grid=grid, num_steps=num_steps, num_jittered=num_jittered, enlarged=enlarged
        ).items():
            if value < limits[name]:
                raise UserError(f'BoxRefiner: {name} must be {limits[name]} or more, not {value}.')
        self.level = level
        self.grid = grid
        self.enlarged = enlarged
        self.num_steps = num_steps
        self.num_jittered = num_jittered
        self.sees_mask = sees_mask
        self.lateral = ConvModule(in_channels, feat_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.input_proj = ConvModule(embed_dims, feat_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.conv = ConvModule(feat_channels + int(sees_mask), feat_channels, 3, padding=1, norm_cfg=norm_cfg)
        self.mlp = MLP(feat_channels * grid**2 + embed_dims, embed_dims, 4, 3)
        # Before training, the answer is the start box, with sides of at least LEAST_SIDE.
        nn.init.zeros_(self.mlp.layers[-1].weight)
        nn.init.zeros_(self.mlp.layers[-1].bias)

    def features(self, maps: Sequence[Tensor], levels: Sequence[Tensor], mask_logits: Tensor | None) -> Tensor:
        """What is sampled, [B, c, h, w] at the stride of the neck's map.

        maps, the encoder's visual maps [B, d, h, w], finest first; levels, the neck's maps [B, in_channels, h, w];
        mask_logits [B, 1, h, w].
        """
        if self.level >= len(levels):
            raise UserError(
                f'BoxRefiner: level={self.level} must be less than the number of maps that the neck gives, '
                f'{len(levels)}.'
            )
        chosen = levels[self.level]
        require_channels('BoxRefiner', [self.lateral.in_channels], [chosen], 'levels')
        x = self.lateral(chosen)
        x = x + resized(self.input_proj(merge_maps(maps)), x)
        if self.sees_mask:
            assert mask_logits is not None, 'UniQRNetHead refuses sees_mask without a mask branch'
            x = torch.cat([x, resized(mask_logits.detach().sigmoid(), x).to(x.dtype)], dim=1)
        return x

    def forward(self, boxes: Tensor, reg: Tensor, features: Tensor) -> list[Tensor]:
        """The boxes after each step, [B, K, 4] each.

        boxes [B, K, 4], the start, cxcywh, 0..1 of the canvas; reg [B, d]; features [B, c, h, w], see :meth:`features`.
        """
        steps = []
        for _ in range(self.num_steps):
            steps.append(self._corrected(at_least_float32(boxes.detach()), reg, features))
            boxes = steps[-1]
        return steps

    def _corrected(self, boxes: Tensor, reg: Tensor, features: Tensor) -> Tensor:
        batch, count = boxes.shape[:2]
        centres, sides = boxes[..., :2], boxes[..., 2:].clamp(min=LEAST_SIDE)
        around = self.conv(sampled(features, centres, self.enlarged * sides, self.grid)).flatten(1)
        reg = reg[:, None].expand(-1, count, -1).flatten(0, 1)
        change = at_least_float32(self.mlp(torch.cat([around, reg], dim=1)))
        shift, scale = change.view(batch, count, 4).split(2, dim=2)
        scale = scale.clamp(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)
        return torch.cat([centres + shift * sides, sides * scale.exp()], dim=2)


def sampled(features: Tensor, centres: Tensor, sides: Tensor, grid: int) -> Tensor:
    """Features [B, c, h, w] in the cells of a grid over K boxes: [B * K, c, grid, grid].

    centres and sides [B, K, 2] each, (x, y), 0..1 of the canvas. A cell is the mean of 2 x 2 bilinear samples; beyond
    the canvas, features are zero.
    """
    count, n = centres.shape[1], 2 * grid
    steps = (torch.arange(n, device=centres.device) + 0.5) / n - 0.5  # of the box, from its centre
    xs, ys = (centres[..., None] + sides[..., None] * steps).unbind(2)  # [B, K, n] each
    points = torch.stack(
        [xs[:, :, None].expand(-1, -1, n, -1), ys[..., None].expand(-1, -1, -1, n)], dim=4
    )  # [B, K, n, n, 2]
    # grid_sample counts from -1 to 1. Places in half precision would be too coarse.
    dtype = torch.promote_types(at_least_float32(features).dtype, points.dtype)
    places = 2 * points.flatten(1, 2).to(dtype) - 1
    values = F.grid_sample(features.to(dtype), places, align_corners=False)
    # [B, c, K * n, n]
    values = values.unflatten(2, (count, n)).transpose(1, 2).flatten(0, 1)
    return F.avg_pool2d(values, 2).to(features.dtype)


def jittered(boxes: Tensor, count: int) -> Tensor:
    """Boxes [B, 4] (cxcywh), each moved and scaled at random ``count`` times: [B, count, 4]."""
    centres, sides = boxes[:, None].expand(-1, count, -1).split(2, dim=2)
    shift, log_factor = (torch.rand(2, *centres.shape, device=boxes.device, dtype=boxes.dtype) * 2 - 1).unbind(0)
    return torch.cat([centres + shift * LARGEST_SHIFT * sides, sides * (log_factor * LARGEST_LOG_FACTOR).exp()], dim=2)

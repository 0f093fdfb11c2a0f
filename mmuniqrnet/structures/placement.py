"""The position of an image on the network's canvas."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch import Tensor


@dataclass(frozen=True)
class Placement:
    """The position of an image on the network's canvas: the only code that maps between original and canvas pixels.

    The image of ``ori_shape`` was resized to ``img_shape`` and put on a canvas of ``canvas_shape`` with its top left
    corner at ``offset``. All are (height, width) or (top, left), in pixels.
    """

    ori_shape: tuple[int, int]
    img_shape: tuple[int, int]
    canvas_shape: tuple[int, int]
    offset: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, data_sample: BaseDataElement) -> 'Placement':
        """From the metainfo that a data preprocessor (ours, or mmdet's, which pads bottom right) has added."""
        meta = data_sample.metainfo
        return cls(
            ori_shape=tuple(meta.get('ori_shape', meta['img_shape'])[:2]),
            img_shape=tuple(meta['img_shape'][:2]),
            canvas_shape=tuple(meta['batch_input_shape'][:2]),
            offset=tuple(meta.get('canvas_offset', (0, 0))),
        )

    def _scale_and_shift(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        sy, sx = (n / o for n, o in zip(self.img_shape, self.ori_shape))
        top, left = self.offset
        return boxes.new_tensor([sx, sy, sx, sy]), boxes.new_tensor([left, top, left, top])

    def boxes_to_canvas(self, boxes: Tensor) -> Tensor:
        """xyxy boxes [N, 4] from original pixels to canvas pixels."""
        scale, shift = self._scale_and_shift(boxes)
        return boxes * scale + shift

    def boxes_to_original(self, boxes: Tensor) -> Tensor:
        """xyxy boxes [N, 4] from canvas pixels to original pixels, clamped to the image (not to the canvas)."""
        scale, shift = self._scale_and_shift(boxes)
        boxes = (boxes - shift) / scale
        height, width = self.ori_shape
        return torch.stack([boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)], dim=-1).flatten(1)

    def map_to_input(self, values: Tensor) -> Tensor:
        """From a map over the whole canvas [N, h, w], at any stride, to a map [N, h', w'] of ``img_shape``.

        The map holds mask logits or probabilities. It is resized to the canvas bilinearly, then the padding is cut off.
        """
        values = values[None].float()
        if values.shape[-2:] != self.canvas_shape:
            values = F.interpolate(values, size=self.canvas_shape, mode='bilinear', align_corners=False)
        (top, left), (height, width) = self.offset, self.img_shape
        return values[0, :, top : top + height, left : left + width]

    def map_to_original(self, values: Tensor) -> Tensor:
        """From a map over the whole canvas [N, h, w], at any stride, to a map [N, H, W] of the original image.

        The map holds mask logits or probabilities. It is resized to the canvas bilinearly, the padding is cut off, and
        the rest is resized to the original image bilinearly.
        """
        values = self.map_to_input(values)[None]
        if values.shape[-2:] != self.ori_shape:
            values = F.interpolate(values, size=self.ori_shape, mode='bilinear', align_corners=False)
        return values[0]

    def padding_mask(self, device: torch.device | str | None = None) -> Tensor:
        """[H, W] bool over the canvas, True where there is no image."""
        mask = torch.ones(self.canvas_shape, dtype=torch.bool, device=device)
        (top, left), (height, width) = self.offset, self.img_shape
        mask[top : top + height, left : left + width] = False
        return mask

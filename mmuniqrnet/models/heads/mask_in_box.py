import torch
import torch.nn.functional as F
from torch import Tensor

# The logit of what lies outside: no threshold that anyone takes is lower.
OUTSIDE = -50.0


def cut_to_box(mask_logits: Tensor, boxes: Tensor, size: tuple[int, int], margin: float) -> Tensor:
    """Mask logits [B, 1, h, w], brought to the canvas's ``size`` and cut to boxes that are grown by ``margin``.

    A mask that hesitates shows a second object, too, and the box has settled on one. Boxes [B, 4] are cxcywh, 0..1 of the
    canvas; each grows on every side by the margin times its width or height, since a box that is a little too small
    should not cost the mask its edge.
    """
    height, width = size
    logits = F.interpolate(mask_logits.float(), size=size, mode='bilinear', align_corners=False)
    x, y, w, h = boxes[:, :, None].unbind(1)  # [B, 1] each
    xs = (torch.arange(width, device=boxes.device) + 0.5) / width
    ys = (torch.arange(height, device=boxes.device) + 0.5) / height
    inside_x = (xs - x).abs() < w * (0.5 + margin)  # [B, W]
    inside_y = (ys - y).abs() < h * (0.5 + margin)  # [B, H]
    inside = inside_y[:, None, :, None] & inside_x[:, None, None, :]
    return logits.masked_fill(~inside, OUTSIDE)

"""Compute a box from a mask, and restrict a mask to a box."""

import torch
import torch.nn.functional as F
from torch import Tensor

# The region is grown on a grid of at most this many cells a side, which limits the number of steps for masks of any
# size.
MAX_CELLS = 32


@torch.no_grad()
def box_around(mask_logits: Tensor, padding_mask: Tensor | None = None, scale: int = 4) -> Tensor:
    """The box around the most probable connected region of a soft mask: [B, 1, h, w] -> cxcywh [B, 4] in 0..1.

    Padding (``padding_mask`` [B, H, W] of the canvas, True where there is no image) is ignored, because no loss trains
    the mask there.

    If the network is unsure, the mask often covers two objects, and a box around both is wrong for either. So the
    region is grown from the mask's peak over the connected cells above a threshold (the peak of the blurred mask, which
    favours large regions), and its box is computed on the logits enlarged ``scale`` times. The box is a reference for
    the box branch and has no gradient.
    """
    logits = mask_logits.float()
    cells = [min(n, MAX_CELLS) for n in logits.shape[-2:]]
    coarse = F.adaptive_avg_pool2d(logits.sigmoid(), cells)  # [B, 1, h', w']
    if padding_mask is not None:
        padding = padding_mask[:, None].float()
        coarse = coarse * (F.adaptive_avg_pool2d(padding, cells) < 1)  # keeps cells that are partly image
    # Relative to the maximum, so that a mask with low probabilities everywhere has a region, too.
    threshold = (coarse.amax((2, 3), keepdim=True) / 2).clamp(max=0.5)
    blob = grow(peak(coarse), coarse > threshold)

    size = [n * scale for n in logits.shape[-2:]]
    fine = F.interpolate(logits, size=size, mode='bilinear', align_corners=False).sigmoid() > threshold
    blob = F.interpolate(blob, size=size)  # nearest
    inside = fine & (blob > 0)
    if padding_mask is not None:
        inside = inside & (F.interpolate(padding, size=size) == 0)
    # On the fine grid nothing may be above the threshold; then the region of the coarse grid is used.
    inside = (inside | (~inside.any(3, True).any(2, True) & (blob > 0))).squeeze(1)
    (x, w), (y, h) = extent(inside.any(1)), extent(inside.any(2))
    return torch.stack([x, y, w, h], dim=1)


def peak(values: Tensor) -> Tensor:
    """One at the maximum of the blurred map, zero elsewhere: [B, 1, h, w] -> the same shape."""
    kernel = max(min(values.shape[-2:]) // 8 * 2 + 1, 1)
    blurred = F.avg_pool2d(values, kernel, stride=1, padding=kernel // 2) * (values >= values.amax((2, 3), True) / 2)
    highest = blurred.flatten(1).argmax(1)
    return F.one_hot(highest, values[0].numel()).to(values.dtype).view_as(values)


def grow(seed: Tensor, region: Tensor) -> Tensor:
    """The part of the region that is connected to the seed, diagonals included: [B, 1, h, w] of zeros and ones."""
    region = region.to(seed.dtype)
    blob = seed
    for _ in range(max(seed.shape[-2:])):
        blob = F.max_pool2d(blob, 3, stride=1, padding=1) * region
    return torch.maximum(blob, seed)


def extent(filled: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and length, in 0..1, of the range from the first to the last True: [B, n] bool -> [B], [B]."""
    n = filled.shape[1]
    place = torch.arange(n, device=filled.device)
    first = torch.where(filled, place, n).amin(1)
    last = torch.where(filled, place + 1, 0).amax(1)
    return (first + last) / (2 * n), (last - first) / n


# The logit outside the box, lower than any threshold in use.
BACKGROUND_LOGIT = -50.0


def cut_to_box(mask_logits: Tensor, boxes: Tensor, size: tuple[int, int], margin: float) -> Tensor:
    """Resize mask logits [B, 1, h, w] to the canvas's ``size``, and remove the mask outside the box.

    If the network is unsure, the mask often covers a second object as well, while the box covers only one. Boxes [B, 4]
    are cxcywh, 0..1 of the canvas. Each is enlarged on every side by ``margin`` times its width or height, so that a
    box that is slightly too small does not cut off the edge of the mask.
    """
    height, width = size
    logits = F.interpolate(mask_logits.float(), size=size, mode='bilinear', align_corners=False)
    x, y, w, h = boxes[:, :, None].unbind(1)  # [B, 1] each
    xs = (torch.arange(width, device=boxes.device) + 0.5) / width
    ys = (torch.arange(height, device=boxes.device) + 0.5) / height
    inside_x = (xs - x).abs() < w * (0.5 + margin)  # [B, W]
    inside_y = (ys - y).abs() < h * (0.5 + margin)  # [B, H]
    inside = inside_y[:, None, :, None] & inside_x[:, None, None, :]
    return logits.masked_fill(~inside, BACKGROUND_LOGIT)

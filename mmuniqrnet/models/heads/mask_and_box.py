"""From a mask to its box, and from a box to a cut mask."""

import torch
import torch.nn.functional as F
from torch import Tensor

# The blob is grown on a grid of at most this many cells a side, so in at most so many steps, whatever the mask's size.
MAX_CELLS = 32


@torch.no_grad()
def box_around(mask_logits: Tensor, padding_mask: Tensor | None = None, scale: int = 4) -> Tensor:
    """The box around the blob of which a soft mask is surest: [B, 1, h, w] -> cxcywh [B, 4] in 0..1.

    Where ``padding_mask`` [B, H, W] of the canvas is True, no loss holds the mask to anything, so it has no say.

    A mask that hesitates between two objects shows both, and a box around everything that it shows is wrong for either.
    So a blob is grown from the mask's peak (that of the mask blurred, which a large blob wins) over the cells that hang
    together with it, and the box is the blob's, on the logits enlarged ``scale`` times. It is a starting point for the
    box branch and carries no gradient.
    """
    logits = mask_logits.float()
    cells = [min(n, MAX_CELLS) for n in logits.shape[-2:]]
    coarse = F.adaptive_avg_pool2d(logits.sigmoid(), cells)  # [B, 1, h', w']
    if padding_mask is not None:
        padding = padding_mask[:, None].float()
        coarse = coarse * (F.adaptive_avg_pool2d(padding, cells) < 1)  # of a cell, a corner of the image is enough
    # A mask that is nowhere sure has a blob, too.
    threshold = (coarse.amax((2, 3), keepdim=True) / 2).clamp(max=0.5)
    blob = grow(peak(coarse), coarse > threshold)

    size = [n * scale for n in logits.shape[-2:]]
    fine = F.interpolate(logits, size=size, mode='bilinear', align_corners=False).sigmoid() > threshold
    blob = F.interpolate(blob, size=size)  # nearest
    inside = fine & (blob > 0)
    if padding_mask is not None:
        inside = inside & (F.interpolate(padding, size=size) == 0)
    # Thresholds on two grids can disagree about a blob of one cell.
    inside = (inside | (~inside.any(3, True).any(2, True) & (blob > 0))).squeeze(1)
    (x, w), (y, h) = extent(inside.any(1)), extent(inside.any(2))
    return torch.stack([x, y, w, h], dim=1)


def peak(values: Tensor) -> Tensor:
    """One at the highest place of the blurred map, zero elsewhere: [B, 1, h, w] -> the same."""
    kernel = max(min(values.shape[-2:]) // 8 * 2 + 1, 1)
    blurred = F.avg_pool2d(values, kernel, stride=1, padding=kernel // 2) * (values >= values.amax((2, 3), True) / 2)
    highest = blurred.flatten(1).argmax(1)
    return F.one_hot(highest, values[0].numel()).to(values.dtype).view_as(values)


def grow(seed: Tensor, region: Tensor) -> Tensor:
    """The part of the region that hangs together with the seed, diagonals included: [B, 1, h, w] of zeros and ones."""
    region = region.to(seed.dtype)
    blob = seed
    for _ in range(max(seed.shape[-2:])):
        blob = F.max_pool2d(blob, 3, stride=1, padding=1) * region
    return torch.maximum(blob, seed)


def extent(filled: Tensor) -> tuple[Tensor, Tensor]:
    """Centre and length of what is filled along a line, in 0..1: [B, n] bool -> [B], [B]."""
    n = filled.shape[1]
    place = torch.arange(n, device=filled.device)
    first = torch.where(filled, place, n).amin(1)
    last = torch.where(filled, place + 1, 0).amax(1)
    return (first + last) / (2 * n), (last - first) / n


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

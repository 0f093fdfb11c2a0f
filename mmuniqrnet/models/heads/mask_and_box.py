"""Compute boxes from a mask, and restrict a mask to a box."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .connected import connected

# The peak is looked for on a grid of at most this many cells a side, so that it does not depend on the mask's stride.
MAX_CELLS = 32
# Logits, relative to the threshold, are limited to this size before edges are interpolated. The interpolation is exact
# for hard masks and for logits that change by at most 4 from cell to cell. If the probability of a cell is the share of
# it that the object covers, as the mask loss teaches, the limit makes the error less than 0.05 cells; with the logits
# of very sure neighbours, it would be up to 0.25.
LOGIT_LIMIT = 4.0


def box_around(mask_logits: Tensor, padding_mask: Tensor | None = None) -> Tensor:
    """The first box of :func:`boxes_around`, that of the surest region: [B, 1, h, w] -> cxcywh [B, 4] in 0..1."""
    return boxes_around(mask_logits, padding_mask)[:, 0]


@torch.no_grad()
def boxes_around(mask_logits: Tensor, padding_mask: Tensor | None = None) -> Tensor:
    """Two boxes around a soft mask: [B, 1, h, w] -> cxcywh [B, 2, 4] in 0..1, without gradient.

    The first is the box around the surest region, which is all that is connected to the mask's peak, diagonals
    included. The second is the box around everything above the threshold. If the network is unsure, the mask often
    covers two objects, and only the first box can be right; if the object has several parts, only the second.

    The threshold is half the probability of the peak, so that a mask with low probabilities everywhere has boxes, too;
    for a sure peak it is 0.5. Edges lie between the centres of cells, where the linearly interpolated logits meet the
    threshold, as in the enlarged mask.

    Padding (``padding_mask`` [B, H, W] of the canvas, True where there is no image) is ignored, because no loss trains
    the mask there. The image is a rectangle on the canvas, and boxes end at its border, to the pixel.
    """
    logits = mask_logits[:, 0].float()
    batch, height, width = logits.shape
    if padding_mask is None:
        padding_mask = logits.new_zeros(batch, height, width, dtype=torch.bool)
    columns, left, right = image_range(padding_mask.byte().amin(1), width)
    rows, top, bottom = image_range(padding_mask.byte().amin(2), height)
    padding = ~(rows[:, :, None] & columns[:, None])  # [B, h, w], cells without any image

    seed = peak(logits.sigmoid(), padding)
    # The logit of half the peak's probability: p / 2 = 1 / (2 + 2 exp(-logit)).
    threshold = -F.softplus(math.log(2) - logits.flatten(1).gather(1, seed[:, None]))
    sure = (logits - threshold[:, :, None]).clamp(-LOGIT_LIMIT, LOGIT_LIMIT).masked_fill(padding, -LOGIT_LIMIT)
    # The cells beside the region are below the threshold, and needed to interpolate its edges.
    beside = F.max_pool2d(connected(seed, sure > 0).float(), 3, stride=1, padding=1) == 0
    regions = torch.stack([sure.masked_fill(beside, -LOGIT_LIMIT), sure], dim=1)  # [B, 2, h, w]
    x1, x2 = edges(regions.amax(2), columns, left, right)
    y1, y2 = edges(regions.amax(3), rows, top, bottom)
    return torch.stack([x1 + x2, y1 + y2, 2 * (x2 - x1), 2 * (y2 - y1)], dim=2) / 2


def image_range(padding: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where the image is on one axis of the canvas.

    Args:
        padding: [B, n] uint8, 1 for the pixels of the axis without image.
        cells: The number of cells of the mask on this axis.

    Returns:
        The cells that contain image [B, cells] bool; begin and end of the image [B, 1] each, in 0..1.
    """
    n = padding.shape[1]
    place = torch.arange(n, device=padding.device)
    begin = torch.where(padding > 0, n, place).amin(1, keepdim=True) / n
    end = torch.where(padding > 0, 0, place + 1).amax(1, keepdim=True) / n
    return F.adaptive_avg_pool1d(padding.float(), cells) < 1, begin, end


def peak(values: Tensor, padding: Tensor) -> Tensor:
    """The most probable cell of probabilities [B, h, w], padding [B, h, w] left out: [B] int64, counted row by row.

    Probabilities are weighted with those around them, so that large regions are preferred. Cells below half of the
    maximum are not considered.
    """
    values = values.masked_fill(padding, 0)
    cells = [min(n, MAX_CELLS) for n in values.shape[1:]]
    kernel = max(min(cells) // 8 * 2 + 1, 1)
    blurred = F.avg_pool2d(F.adaptive_avg_pool2d(values, cells), kernel, stride=1, padding=kernel // 2)
    blurred = F.interpolate(blurred[:, None], size=values.shape[1:])[:, 0]  # nearest
    excluded = padding | (values < values.amax((1, 2), keepdim=True) / 2)
    return (values * blurred).masked_fill(excluded, -1).flatten(1).argmax(1)


def edges(values: Tensor, image: Tensor, begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Begin and end of what is above zero on one axis, interpolated between the centres of cells.

    Args:
        values: [B, N, n], the maximum over the other axis.
        image: [B, n] bool, the cells that contain image.
        begin: [B, 1], where the image begins, in 0..1.
        end: [B, 1], where it ends.

    Returns:
        [B, N] each, in 0..1, not outside the image.
    """
    n = values.shape[2]
    image = F.pad(image, (1, 1))[:, None]
    around = F.pad(values, (1, 1))
    before, after = around[..., :-2], around[..., 2:]
    # Beyond the image's border the values are extrapolated, with 1.5 times their slope: where they do not fall, the
    # object reaches the border; a cell that it covers by 3/4 becomes 3/4 of a cell.
    beyond_begin = (2.5 * values - 1.5 * after).clamp(min=-LOGIT_LIMIT)
    beyond_end = (2.5 * values - 1.5 * before).clamp(min=-LOGIT_LIMIT)
    before = torch.where(image[..., :-2], before, beyond_begin).clamp(max=0)
    after = torch.where(image[..., 2:], after, beyond_end).clamp(max=0)
    centre = torch.arange(n, device=values.device) + 0.5
    first = torch.where(values > 0, centre - values / (values - before), n).amin(2) / n
    last = torch.where(values > 0, centre + values / (values - after), 0).amax(2) / n
    return torch.maximum(first, begin), torch.minimum(last, end)


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

"""The part of a region that is connected to one of its cells, in a fixed number of operations."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Passes over the four directions, see `connected`.
PASSES = 4


def connected(seed: Tensor, region: Tensor, passes: int = PASSES) -> Tensor:
    """The part of each region that is connected to its seed, diagonals included.

    A run is an unbroken line of cells of the region, in a row, a column or a diagonal. In every pass, for each of these
    four directions, every run with a reached cell is reached whole. So a pass covers any distance along a straight
    line, while growth by one cell a step would need as many steps as the object has cells. A region with more bends
    than the passes can follow is returned in part; a cell that is not connected to the seed is never returned.

    Args:
        seed: [B] int64, the index of a cell, row by row.
        region: [B, h, w] bool.
        passes: The number of passes.

    Returns:
        [B, h, w] bool; nothing if the seed is not in the region.
    """
    height, width = region.shape[1:]
    # Row by row with an empty column after the last. No run continues in the next row then, and neighbours in any of
    # the four directions are a constant number of places apart.
    step = width + 1
    places = height * step
    inside = F.pad(region, (0, 1)).flatten(1)  # [B, places]
    runs = [number_runs(inside, distance) for distance in (1, step, step + 1, step - 1)]
    inside = inside.float()
    reached = torch.zeros_like(inside).scatter(1, (seed + seed // width)[:, None], 1.0) * inside
    empty = inside.new_zeros(inside.shape[0], places + step + 2)  # one place for each number of a run
    for _ in range(passes):
        for numbers in runs:
            counts = empty.scatter_add(1, numbers, reached)  # reached cells of each run
            reached = torch.minimum(counts.gather(1, numbers), inside)
    return reached.view(-1, height, step)[:, :, :width] > 0


def number_runs(inside: Tensor, distance: int) -> Tensor:
    """Give every run of cells that are ``distance`` places apart a number: [B, places] bool -> int64, the same shape.

    Cells outside the region have a number, too, which may be that of a run.
    """
    places = inside.shape[1]
    length = -(-places // distance)
    # One column for each line of cells. The number increases at every cell outside the region.
    lines = F.pad(inside, (0, length * distance - places)).view(-1, length, distance)
    first = torch.arange(distance, device=inside.device) * length
    return ((~lines).cumsum(1) + first).flatten(1)[:, :places]

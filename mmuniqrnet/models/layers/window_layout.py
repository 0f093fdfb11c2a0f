"""The order of tokens in windows: shift, padding and partition as one selection of rows, and back."""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Selection(NamedTuple):
    """Rows of a matrix: those of ``index`` [S], in this order, and zeros at the places ``zeros`` (None: nowhere)."""

    index: Tensor
    zeros: Tensor | None


class WindowLayout(NamedTuple):
    """How B maps of H x W tokens are cut into windows of ``size`` x ``size``.

    The map is padded at the bottom and at the right to whole windows, then rolled by ``shift`` up and to the left.

    Attributes:
        height: H.
        width: W.
        size: Side of a window, in tokens.
        shift: By how many tokens the windows are moved; less than ``size``.
    """

    height: int
    width: int
    size: int
    shift: int

    @property
    def grid(self) -> tuple[int, int]:
        """Number of windows from top to bottom and from left to right."""
        return -(-self.height // self.size), -(-self.width // self.size)

    @property
    def plain(self) -> bool:
        """Whether the windows are cut from the map as it is, without padding and shift."""
        return self.shift == 0 and self.height % self.size == 0 and self.width % self.size == 0

    def partition(self, x: Tensor) -> Tensor:
        """Tokens [B, H * W, C] -> windows [B * n, size * size, C], row by row; padding is zero."""
        channels = x.shape[-1]
        if self.plain or not is_plain(x):
            return self._partition_view(x)
        to_windows, to_map = selections(self, x.shape[0], x.device)
        rows = SelectRows.apply(x.reshape(-1, channels), to_windows, to_map)
        return rows.view(-1, self.size * self.size, channels)

    def merge(self, windows: Tensor) -> Tensor:
        """Windows [B * n, size * size, C] -> tokens [B, H * W, C]; the inverse of :meth:`partition`."""
        channels, (rows, columns) = windows.shape[-1], self.grid
        if self.plain or not is_plain(windows):
            return self._merge_view(windows)
        batch = windows.shape[0] // (rows * columns)
        to_windows, to_map = selections(self, batch, windows.device)
        tokens = SelectRows.apply(windows.reshape(-1, channels), to_map, to_windows)
        return tokens.view(batch, -1, channels)

    def _partition_view(self, x: Tensor) -> Tensor:
        (rows, columns), size, channels = self.grid, self.size, x.shape[-1]
        x = x.unflatten(1, (self.height, self.width))
        if not self.plain:
            x = F.pad(x, (0, 0, 0, columns * size - self.width, 0, rows * size - self.height))
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        x = x.reshape(-1, rows, size, columns, size, channels)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, channels)

    def _merge_view(self, windows: Tensor) -> Tensor:
        (rows, columns), size, channels = self.grid, self.size, windows.shape[-1]
        x = windows.reshape(-1, rows, columns, size, size, channels).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(-1, rows * size, columns * size, channels)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, : self.height, : self.width].reshape(-1, self.height * self.width, channels)


class SelectRows(torch.autograd.Function):
    """Select rows of a matrix; the gradient is a selection, too, because no row is selected twice.

    The gradient of ``index_select`` adds up rows instead, which takes several times as long, and whose order on a GPU
    is not fixed.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, selection: Selection, inverse: Selection) -> Tensor:
        """Rows [R, C] -> rows [S, C]."""
        ctx.selections = selection, inverse
        out = rows.index_select(0, selection.index)
        return out if selection.zeros is None else out.index_fill_(0, selection.zeros, 0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        selection, inverse = ctx.selections
        return SelectRows.apply(gradient, inverse, selection), None, None


def is_plain(x: Tensor) -> bool:
    """Whether operations of our own can be applied; the compiler, exports and tracing get torch's, which they know."""
    if type(x) is not Tensor or x.device.type == 'meta':
        return False
    return not torch.compiler.is_compiling() and not torch.jit.is_tracing()


@lru_cache(maxsize=64)
def selections(layout: WindowLayout, batch: int, device: torch.device) -> tuple[Selection, Selection]:
    """The rows of B flattened maps in the order of the windows, and their inverse."""
    with torch.inference_mode(False), torch.no_grad():
        count = batch * layout.height * layout.width
        places = torch.arange(1, count + 1, device=device).view(batch, -1, 1)
        windows = layout._partition_view(places).flatten()  # 0 is padding
        padding = (windows == 0).nonzero().flatten()
        index = (windows - 1).clamp(min=0)
        inverse = layout._merge_view(torch.arange(windows.numel(), device=device).view(-1, layout.size**2, 1)).flatten()
        return Selection(index, padding if padding.numel() else None), Selection(inverse, None)


def shift_mask(layout: WindowLayout, device: torch.device) -> Tensor | None:
    """[n, size^2, size^2] bool, True for tokens that are in one window only because the map was rolled, or None."""
    if layout.shift == 0:
        return None
    return _shift_mask(layout, device) if torch.compiler.is_compiling() else _cached_shift_mask(layout, device)


def _shift_mask(layout: WindowLayout, device: torch.device) -> Tensor:
    size, shift = layout.size, layout.shift

    def parts(windows: int) -> Tensor:
        places, length = torch.arange(windows * size, device=device), windows * size
        return (places >= length - size).long() + (places >= length - shift).long()

    rows, columns = (parts(n).view(n, size) for n in layout.grid)
    regions = (rows[:, None, :, None] * 3 + columns[None, :, None, :]).flatten(2).flatten(0, 1)  # [n, size^2]
    return regions[:, :, None] != regions[:, None, :]


@lru_cache(maxsize=32)
def _cached_shift_mask(layout: WindowLayout, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return _shift_mask(layout, device)

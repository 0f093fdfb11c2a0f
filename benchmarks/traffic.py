"""Bytes that operators read and write."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


def bytes_of(step: Callable[[], None]) -> int:
    """The bytes of the inputs and outputs of all operators of a step; what a fused operator does inside is not seen."""
    with _Traffic() as traffic:
        step()
    return traffic.total


def bandwidth(device: str, seconds: Callable[[Callable[[], None], str], float]) -> float:
    """Bytes per second of a copy of 256 MiB, read and written."""
    source = torch.zeros(2**26, device=device)
    target = torch.empty_like(source)
    return 2 * 4 * 2**26 / min(seconds(lambda: target.copy_(source), device) for _ in range(5))


class _Traffic(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs, outputs = list(_tensors((args, kwargs))), list(_tensors(out))
        held = {x.untyped_storage().data_ptr() for x in inputs}
        # A view moves nothing, nor does an allocation.
        is_view = all(x.untyped_storage().data_ptr() in held for x in outputs) and not func._schema.is_mutable
        if not is_view and 'empty' not in func.name():
            self.total += sum(min(x.numel() * x.itemsize, x.untyped_storage().nbytes()) for x in [*inputs, *outputs])
        return out


def _tensors(values: Any) -> Iterator[Tensor]:
    return (x for x in tree_iter(values) if isinstance(x, Tensor))

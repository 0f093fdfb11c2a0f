"""Numbers that are read from the device later than they are computed, so that it does not wait for the host."""

import torch
from torch import Tensor


class Later:
    """A small tensor on its way to the host, while the device goes on.

    Args:
        value: The tensor; on CUDA it is copied to pinned memory behind the work that is queued already.
    """

    def __init__(self, value: Tensor) -> None:
        self._value = value.detach().to('cpu', non_blocking=value.is_cuda)
        self._arrived: torch.cuda.Event | None = None
        if value.is_cuda:
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def tolist(self) -> list[float]:
        """The numbers, as a flat list; waits until they have arrived."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._value.flatten().tolist()

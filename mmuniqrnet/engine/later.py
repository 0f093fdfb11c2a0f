"""Numbers that are read from the device later than they are computed, so that the device does not wait."""

import torch
from mmengine.runner import Runner
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


def catch_up(runner: Runner) -> None:
    """Let all hooks that follow the steps with a delay look at what still waits.

    It is called on all ranks before a checkpoint is saved: ``before_save_checkpoint`` runs on rank 0 alone, where a
    hook can not ask the other ranks, and where its state would become another one than theirs.
    """
    for hook in runner.hooks:
        if hasattr(hook, 'catch_up'):
            hook.catch_up(runner)

"""Averaged weights (EMA), updated in a few operations for all weights."""

import math

import torch
from mmdet.models.layers import ExpMomentumEMA
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS


@MODELS.register_module()
class FastExpMomentumEMA(ExpMomentumEMA):
    """mmdet's ExpMomentumEMA with the same arguments, values and checkpoints, in a few operations.

    mmengine and mmdet read the number of steps from the device for every weight, and a GPU then waits for the host some
    hundred times in each step. Here the number is read once, when the training starts, and all weights of a type are
    averaged in one operation.
    """

    _known: tuple[int, int] | None = None  # the version of ``steps``, which changes when it is loaded, and its value

    def update_parameters(self, model: nn.Module) -> None:
        """Average the weights of ``model``, and its buffers if ``update_buffers`` is set, into those of ``module``."""
        steps = self._count()
        sources = model.state_dict() if self.update_buffers else dict(model.named_parameters())
        if steps == 0:
            for name, averaged in self.avg_parameters.items():
                averaged.data.copy_(sources[name].data)
        elif steps % self.interval == 0:
            momentum = (1 - self.momentum) * math.exp(-float(1 + steps) / self.gamma) + self.momentum
            for old, new in self._pairs(sources).values():
                torch._foreach_lerp_(old, new, momentum)
        if not self.update_buffers:
            for ours, theirs in zip(self.module.buffers(), model.buffers()):
                ours.data.copy_(theirs.data.to(ours.device))
        self.steps += 1
        self._known = (self.steps._version, steps + 1)

    def _count(self) -> int:
        """The number of steps so far, read from the device only if it is not known."""
        if self._known is None or self._known[0] != self.steps._version:
            return int(self.steps)
        return self._known[1]

    def _pairs(self, sources: dict[str, Tensor]) -> dict[tuple, tuple[list[Tensor], list[Tensor]]]:
        """The averaged weights and their sources, by type and device."""
        found: dict[tuple, tuple[list[Tensor], list[Tensor]]] = {}
        for name, averaged in self.avg_parameters.items():
            if averaged.dtype.is_floating_point:
                old, new = found.setdefault((averaged.dtype, averaged.device), ([], []))
                old.append(averaged.data)
                new.append(sources[name].data.to(averaged.device))
        return found

"""Decide between the loss and the step of an optimiser whether the step is made."""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce
from mmengine.optim import OptimWrapper
from torch import Tensor

# The attribute of a wrapper that has its guard.
GUARD = '_step_guard'


class Flags(NamedTuple):
    """Whether the loss of one batch is not finite.

    Attributes:
        here: On this rank.
        anywhere: On any rank; the same on all.
    """

    here: bool
    anywhere: bool


class StepGuard:
    """Omits each step of an optimiser in which a loss or a gradient is not finite, on all ranks alike.

    It replaces ``update_params`` and ``step`` of one optimiser wrapper of mmengine, until :meth:`remove`. The backward
    pass is made in any case, so that DDP's ranks do not wait for each other; the gradients are then dropped. If batches
    are accumulated, one loss that is not finite drops the whole step.

    With a ``loss_scaler`` (float16), gradients are not checked: they overflow now and then by design, and the scaler
    omits the step itself.

    On CUDA, the loss is checked on the device, and the result is copied to the host while the backward pass is being
    queued, so that waiting for it leaves no gap between forward and backward pass. The check of the gradients waits for
    the backward pass, as mmengine's clipping does.

    Args:
        wrapper: The wrapper of the optimiser.
        gradients: Whether to check the gradients as well.
    """

    def __init__(self, wrapper: OptimWrapper, gradients: bool = True) -> None:
        if hasattr(wrapper, GUARD):  # an earlier training was interrupted
            getattr(wrapper, GUARD).remove()
        self.wrapper, self.gradients = wrapper, gradients
        self.skipped_in_a_row = 0
        self._update_params, self._step = wrapper.update_params, wrapper.step
        self._of_step: list[_Flags] = []
        self._of_iteration: list[_Flags] = []
        self._bad_gradients: list[Tensor] | None = None
        setattr(wrapper, GUARD, self)
        # mmengine's schedulers have replaced `step` by a function that counts.
        self._own = {name: vars(wrapper)[name] for name in ('update_params', 'step') if name in vars(wrapper)}
        wrapper.update_params = _standing_for(self._update_params, self.update_params)
        wrapper.step = _standing_for(self._step, self.step)

    def remove(self) -> None:
        """Give the wrapper its own methods back."""
        for name in ('update_params', 'step', GUARD):
            delattr(self.wrapper, name)
        vars(self.wrapper).update(self._own)

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        """Note the loss, a scalar, and go on as the wrapper does."""
        flags = _Flags(loss)
        self._of_step.append(flags)
        self._of_iteration.append(flags)
        self._update_params(loss, step_kwargs, zero_kwargs)

    def step(self, **kwargs: object) -> None:
        """Make the wrapper's step, or none."""
        bad_loss = any(flags.read().anywhere for flags in self._of_step)
        self._of_step = []
        if bad_loss or not self._finite_gradients():
            self.skipped_in_a_row += 1
            return
        self.skipped_in_a_row = 0
        self._step(**kwargs)

    def take(self) -> tuple[list[Flags], list[Tensor]]:
        """What happened since the last call: flags of each loss, and the parameters whose gradients were not finite."""
        found = [flags.read() for flags in self._of_iteration], self._bad_gradients or []
        self._of_iteration, self._bad_gradients = [], None
        return found

    def _finite_gradients(self) -> bool:
        if not self.gradients or getattr(self.wrapper, 'loss_scaler', None) is not None:
            return True
        parameters = [p for group in self.wrapper.optimizer.param_groups for p in group['params'] if p.grad is not None]
        if not parameters:
            return True
        # DDP has averaged the gradients: they are the same on all ranks.
        norms = torch.stack(torch._foreach_norm([p.grad for p in parameters]))
        if bool(torch.isfinite(norms).all()):
            return True
        self._bad_gradients = [p for p, finite in zip(parameters, torch.isfinite(norms).tolist()) if not finite]
        return False


class _Flags:
    """:class:`Flags` on their way to the host."""

    def __init__(self, loss: Tensor) -> None:
        here = (~torch.isfinite(loss.detach())).any().float()
        anywhere = here.clone()
        all_reduce(anywhere, 'max')
        self._values = torch.stack([here, anywhere]).to('cpu', non_blocking=loss.is_cuda)  # pinned memory on CUDA
        self._arrived: torch.cuda.Event | None = None
        if loss.is_cuda:
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def read(self) -> Flags:
        if self._arrived is not None:
            self._arrived.synchronize()
        here, anywhere = self._values.tolist()
        return Flags(bool(here), bool(anywhere))


def _standing_for(original: Callable, method: Callable) -> Callable:
    """``method``, with what is noted at the original, such as that mmengine's schedulers count its calls."""

    @torch.compiler.disable
    @wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> None:
        method(*args, **kwargs)

    return replacement

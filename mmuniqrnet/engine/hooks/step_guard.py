"""Decide between the loss and the step of an optimiser whether the step is made."""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor

from mmuniqrnet.engine.later import Later

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


class Outcome(NamedTuple):
    """What an iteration came to.

    Attributes:
        flags: Of each loss.
        omitted: Whether its step was omitted; None if the iteration had no step of its own.
        bad_gradients: The parameters whose gradients are not finite.
    """

    flags: list[Flags]
    omitted: bool | None
    bad_gradients: list[Tensor]


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

    With ``on_device``, a fused optimiser is told on the device to omit the step, and nothing is waited for. With other
    optimisers and with a loss scaler it is waited for all the same, which is logged.

    Args:
        wrapper: The wrapper of the optimiser.
        gradients: Whether to check the gradients as well.
        on_device: Whether the step is omitted on the device.
    """

    def __init__(self, wrapper: OptimWrapper, gradients: bool = True, on_device: bool = False) -> None:
        if hasattr(wrapper, GUARD):  # an earlier training was interrupted
            getattr(wrapper, GUARD).remove()
        self.wrapper, self.gradients, self.on_device = wrapper, gradients, on_device
        scaled = getattr(wrapper, 'loss_scaler', None) is not None
        if on_device and (scaled or not getattr(wrapper.optimizer, '_step_supports_amp_scaling', False)):
            self.on_device = False
            print_log(
                'CheckLossHook: each step waits for its losses, whatever delay is, because '
                + ('there is a loss scaler' if scaled else 'the optimiser is not fused (optimizer.fused=True)'),
                'current',
            )
        self.checks_gradients = gradients and not scaled
        self._update_params, self._step = wrapper.update_params, wrapper.step
        self._of_step: list[_Flags] = []
        self._of_iteration: list[_Flags] = []
        self._decision: _Decision | None = None
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
        flags, self._of_step = self._of_step, []
        if self.on_device:
            self._decision = _Decision(flags, *self._gradient_norms())
            self.wrapper.optimizer.found_inf = self._decision.omit
            try:
                self._step(**kwargs)
            finally:
                del self.wrapper.optimizer.found_inf
            return
        # In float16, the scaler looks at the gradients; after a loss that is not finite, nobody needs to.
        bad_loss = any(one.read().anywhere for one in flags)
        self._decision = _Decision(flags, *(([], None, None) if bad_loss else self._gradient_norms()))
        if not bad_loss and not self._decision.read()[0]:
            self._step(**kwargs)

    def take(self) -> '_Unread':
        """What happened since the last call."""
        found = _Unread(self._of_iteration, self._decision)
        self._of_iteration, self._decision = [], None
        return found

    def _gradient_norms(self) -> tuple[list[Tensor], Tensor | None, Tensor | None]:
        """The parameters with gradients, the norm of each gradient, and that of all; nothing if it is not checked."""
        if not self.checks_gradients:
            return [], None, None
        parameters = [p for group in self.wrapper.optimizer.param_groups for p in group['params'] if p.grad is not None]
        if not parameters:
            return [], None, None
        # DDP has averaged the gradients: they are the same on all ranks.
        norms = torch.stack(torch._foreach_norm([p.grad for p in parameters]))
        whole = torch.linalg.vector_norm(norms)
        if hasattr(self.wrapper, 'gradient_norm'):
            self.wrapper.gradient_norm = whole  # clipping needs it, too
        return parameters, norms, whole


class _Flags:
    """:class:`Flags` on their way to the host."""

    def __init__(self, loss: Tensor) -> None:
        here = (~torch.isfinite(loss.detach())).any().float()
        self.anywhere = here.clone()  # on the device
        all_reduce(self.anywhere, 'max')
        self._values = Later(torch.stack([here, self.anywhere]))

    def read(self) -> Flags:
        here, anywhere = self._values.tolist()
        return Flags(bool(here), bool(anywhere))


class _Decision:
    """Whether a step is omitted, and because of which gradients.

    Args:
        flags: Of the losses of the step.
        parameters: The parameters with gradients.
        norms: The norms of these gradients.
        whole: The norm of all of them.
    """

    def __init__(
        self, flags: list['_Flags'], parameters: list[Tensor], norms: Tensor | None, whole: Tensor | None
    ) -> None:
        omit = torch.stack([one.anywhere for one in flags]).amax()
        # The norm of all may overflow where none of them does; then there is nothing to name, and the step is made.
        if norms is not None and whole is not None:
            omit = torch.maximum(omit, (~torch.isfinite(norms)).any().float())
        self.omit = omit  # 0 or 1, on the device
        self._parameters, self._norms = parameters, norms
        self._value = Later(omit)

    def read(self) -> tuple[bool, list[Tensor]]:
        """Whether the step was omitted, and the parameters whose gradients are not finite."""
        omitted = bool(self._value.tolist()[0])
        if not omitted or self._norms is None:
            return omitted, []
        finite = torch.isfinite(self._norms).tolist()
        return omitted, [p for p, is_finite in zip(self._parameters, finite) if not is_finite]


class _Unread(NamedTuple):
    """The :class:`Outcome` of an iteration, not read yet."""

    flags: list[_Flags]
    decision: _Decision | None

    def read(self) -> Outcome:
        flags = [one.read() for one in self.flags]
        omitted, bad = (None, []) if self.decision is None else self.decision.read()
        return Outcome(flags, omitted, bad)


def _standing_for(original: Callable, method: Callable) -> Callable:
    """``method``, with what is noted at the original, such as that mmengine's schedulers count its calls."""

    @torch.compiler.disable
    @wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> None:
        method(*args, **kwargs)

    return replacement

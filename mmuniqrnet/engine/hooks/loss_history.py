"""Log the losses without waiting for the device in every step."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.logging import HistoryBuffer
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from mmuniqrnet.engine.optim_wrapper import ClippingOptimWrapper
from mmuniqrnet.registry import HOOKS

from .loss_check import CheckLossHook


class _Step(NamedTuple):
    """What a step logs: names, and the values still on the device [number of names]."""

    names: tuple[str, ...]
    values: Tensor


@HOOKS.register_module()
class LossHistoryHook(RuntimeInfoHook):
    """mmengine's RuntimeInfoHook, which reads the losses of several steps at once, before they are logged or saved.

    mmengine's reads each loss as a number in every step, and a GPU then waits for the host about twenty times in each.
    Here they stay on the device until the LoggerHook prints, a checkpoint is saved, a validation begins or the training
    ends. What is logged is the same, except that with ``CheckLossHook(action='skip')`` the values that are not finite
    are left out, since their steps are omitted: one of them would make the averages of the next 50 steps NaN.

    Use it as ``default_hooks=dict(runtime_info=dict(type='LossHistoryHook'))``.
    """

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self._steps: list[_Step] = []
        self._interval = min((h.interval for h in runner.hooks if isinstance(h, LoggerHook)), default=1)
        for wrapper in optim_wrappers(runner):
            wrapper.reads_norm = False
        self._omits = any(isinstance(h, CheckLossHook) and h.action == 'skip' for h in runner.hooks)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        """Note the outputs of the step, and the norm of its gradient if the optimiser's wrapper has it."""
        logged = {f'train/{name}': value for name, value in (outputs or {}).items()}
        for wrapper in optim_wrappers(runner):
            if wrapper.gradient_norm is not None:
                logged['train/grad_norm'] = wrapper.gradient_norm
        loss = next((v for v in logged.values() if isinstance(v, Tensor)), None)
        if loss is None:
            return
        on_device = {k: v for k, v in logged.items() if isinstance(v, Tensor) and v.device == loss.device}
        values = torch.stack([value.detach().reshape(()) for value in on_device.values()])
        self._steps.append(_Step(tuple(on_device), values))
        for name, value in logged.items():
            if name not in on_device:
                runner.message_hub.update_scalar(name, value)
        last = batch_idx + 1 == len(runner.train_dataloader) or runner.iter + 1 == runner.max_iters
        if self.every_n_inner_iters(batch_idx, self._interval) or last:
            self.read(runner)

    def before_val(self, runner: Runner) -> None:
        self.read(runner)
        super().before_val(runner)

    def after_train(self, runner: Runner) -> None:
        self.read(runner)
        super().after_train(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Complete the history in the checkpoint, which was written before this call."""
        if self.read(runner):
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def read(self, runner: Runner) -> bool:
        """Read what was noted into the message hub; returns whether there was anything."""
        steps, self._steps = getattr(self, '_steps', []), []
        if not steps:
            return False
        numbers = iter(torch.cat([step.values for step in steps]).tolist())
        found: dict[str, list[float]] = {}
        for step in steps:
            for name in step.names:
                value = next(numbers)
                if math.isfinite(value) or not self._omits:
                    found.setdefault(name, []).append(value)
        for name, values in found.items():
            self._extend(runner, name, values)
        return True

    @staticmethod
    def _extend(runner: Runner, name: str, values: list[float]) -> None:
        hub = runner.message_hub
        hub.update_scalar(name, values[0])
        if len(values) > 1:  # HistoryBuffer copies all that it has for every value that is added
            history, counts = hub.log_scalars[name].data
            hub.log_scalars[name] = HistoryBuffer(
                np.concatenate([history, values[1:]]),
                np.concatenate([counts, np.ones(len(values) - 1)]),
                hub.log_scalars[name].max_length,
            )


def optim_wrappers(runner: Runner) -> list[ClippingOptimWrapper]:
    """The wrappers that leave their norm to be logged."""
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return [one for one in wrappers if isinstance(one, ClippingOptimWrapper)]

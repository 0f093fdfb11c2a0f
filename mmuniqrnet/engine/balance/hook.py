"""Balance the losses of the tasks of any model with several losses, without changes to the model."""

import inspect
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from mmengine.utils import apply_to
from torch import Tensor, nn

from mmuniqrnet.engine.later import Later
from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.errors import UserError

from .gradient_norms import find_shared_parameters, gradient_norms
from .strategies import BALANCE_STRATEGIES, BalanceStrategy

RawLosses = dict[str, Tensor | list[Tensor]]
ParsedLosses = tuple[Tensor, dict[str, Tensor]]
# The attribute of the replacement of parse_losses that has the replaced method; None if the class's own was replaced.
REPLACED = 'replaced'


@HOOKS.register_module()
class LossBalanceHook(Hook):
    """Multiply the losses of each task by a weight that a strategy adapts.

    During training, the hook replaces ``model.parse_losses``, the method in which mmengine sums the raw losses; the
    rest of the model is not changed. The logged ``loss`` is the weighted total; the losses of the tasks are logged
    unweighted, together with ``balance/weight_<task>`` and ``balance/raw_<task>`` (the task's unweighted sum).

    The weights change only after an optimiser step, not between the batches that it accumulates. The strategy gets the
    losses averaged over these batches and over all ranks. Skipped steps (overflows of AMP) and steps with a loss that
    is not finite do not change the weights. A loss of exactly zero on all ranks means a batch without supervision for
    the task and is excluded from its mean; if a task has no supervision in a whole step, no weight changes.

    Args:
        tasks: The prefix, or prefixes, of the loss names of each task; wildcards are allowed:
            ``dict(box='loss_box', mask=('loss_mask', 'd?.loss_mask'))``, where ``d?.`` fits the losses of ten layers
            (``d0.`` to ``d9.``), and ``d*.`` those of any number. A prefix may match no loss if another one of its task
            does. Losses of no task keep weight 1, and the log names them.
        strategy: The name of one of ``BALANCE_STRATEGIES``, or ``dict(type=name, ...)`` with its options.
        shared_parameters: Names of parameters or modules of the model, for strategies that need gradients
            ("gradnorm"): preferably the last ones that all tasks share. None uses the model's ``shared_parameters()``.
        delay: The number of optimiser steps by which the weights follow the losses later. With 0, a GPU waits for the
            host after every step. With 1, it does not. Before a checkpoint is saved, all losses are taken into
            account, so that a resumed training goes on exactly as if it had not been interrupted.

    Raises:
        ValueError: In the first step, if a task has no loss, or if a loss belongs to several tasks.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        tasks: dict[str, str | Sequence[str]],
        strategy: str | dict = 'magnitude',
        shared_parameters: str | Sequence[str] | None = None,
        delay: int = 0,
    ) -> None:
        if delay < 0:
            raise UserError(f'LossBalanceHook: delay is a number of steps, 0 or more, not {delay}.')
        if not tasks:
            raise UserError('LossBalanceHook needs tasks, such as dict(box="loss_box", mask="loss_mask")')
        self.tasks = {task: (prefix,) if isinstance(prefix, str) else tuple(prefix) for task, prefix in tasks.items()}
        self.strategy = build_strategy(strategy, list(tasks))
        self.weights = self._check_weights(self.strategy.initial_weights())
        self.shared_parameters = [shared_parameters] if isinstance(shared_parameters, str) else shared_parameters
        self._model: nn.Module = None  # set in before_train
        self._task_of: dict[str, str | None] = {}
        self.delay = delay
        self._batches: list[Tensor] = []
        self._steps: list[Tensor] = []  # of each optimiser: 1, or 0 if it omitted the step
        self._waiting: deque[Later] = deque()
        self._warned = False
        self._loaded: dict | None = None

    def before_train(self, runner: Runner) -> None:
        if sum(isinstance(hook, LossBalanceHook) for hook in runner.hooks) > 1:
            raise UserError('only one LossBalanceHook can balance a model: give it all the tasks')
        self._restore(runner)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._model, self._optim_wrapper = model, runner.optim_wrapper
        self._batches, self._steps = [], []
        self._waiting.clear()
        self._replace_parse_losses(model)
        wrappers = runner.optim_wrapper
        wrappers = list(wrappers.values()) if isinstance(wrappers, OptimWrapperDict) else [wrappers]
        self._listeners = [w.optimizer.register_step_post_hook(self._note_step) for w in wrappers]

    def after_train(self, runner: Runner) -> None:
        self._read(0)
        for listener in self._listeners:
            listener.remove()
        restore_parse_losses(self._model)

    def _replace_parse_losses(self, model: nn.Module) -> None:
        restore_parse_losses(model)  # it is still replaced if an earlier training was interrupted
        original = model.parse_losses

        # A plain function instead of a bound method, so that a deep copy of the model does not copy hook and runner.
        @torch.compiler.disable
        def parse_losses(losses: RawLosses) -> ParsedLosses:
            return self._parse(losses, original) if model.training else original(losses)

        setattr(parse_losses, REPLACED, vars(model).get('parse_losses'))
        model.parse_losses = parse_losses

    def _note_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict) -> None:
        # After an overflow, GradScaler calls fused optimisers all the same; they skip the step themselves, and so they
        # do if CheckLossHook tells them to. Whether they did is known to the device only.
        overflow = getattr(optimizer, 'found_inf', None)
        self._steps.append(torch.ones(()) if overflow is None else 1 - overflow.detach().float().reshape(()))

    def _parse(self, losses: RawLosses, original: Callable[[RawLosses], ParsedLosses]) -> ParsedLosses:
        if not self._task_of:
            self._assign(losses)
        raw: dict[str, Tensor] = {}
        scaled: RawLosses = {}
        per_task: dict[str, list[Tensor]] = {task: [] for task in self.tasks}
        for name, value in losses.items():
            task = self._find_task(name)
            scaled[name] = value
            if task is not None:
                # A weight of zero is applied, too, instead of dropping the loss: DDP waits for gradients of all
                # branches.
                weight = self.weights[task]
                scaled[name] = value * weight if isinstance(value, Tensor) else [v * weight for v in value]
                raw[name] = value.mean() if isinstance(value, Tensor) else sum(v.mean() for v in value)
                per_task[task].append(raw[name])
        total, log_vars = original(scaled)
        sums = {task: sum(values, torch.zeros_like(total)) for task, values in per_task.items()}
        self._remember(sums)
        for name, value in raw.items():
            log_vars[name] = value.detach()
        for task, value in sums.items():
            log_vars[f'balance/weight_{task}'] = torch.tensor(self.weights[task])
            log_vars[f'balance/raw_{task}'] = value.detach()
        return total, log_vars

    def _remember(self, sums: dict[str, Tensor]) -> None:
        values = torch.stack([value.detach().float() for value in sums.values()])
        parts = [values, (values != 0).float()]
        if self.strategy.wants_gradient_norms():
            parameters = find_shared_parameters(self._model, self.shared_parameters)
            # Gradients in half precision need AMP's loss scale here as in the backward pass.
            scaler = getattr(self._optim_wrapper, 'loss_scaler', None)
            parts.append(gradient_norms(sums, parameters, 1.0 if scaler is None else scaler.get_scale()))
        self._batches.append(torch.cat(parts))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if not self._batches:
            raise RuntimeError(
                f'LossBalanceHook received no losses, because train_step of {type(self._model).__name__} '
                'does not call its parse_losses'
            )
        several = isinstance(runner.optim_wrapper, OptimWrapperDict)
        if not (self._steps if several else runner.optim_wrapper.should_update()):
            return
        # Every rank takes part, also one that skipped its step. A value that is not finite on one rank is so on all.
        statistics, batches, n = torch.stack(self._batches), len(self._batches), len(self.tasks)
        made = statistics.new_zeros(1)
        for step in self._steps:
            made = torch.maximum(made, step if step.device == made.device else made + float(step))
        statistics = torch.cat([statistics.flatten(), made])
        self._batches, self._steps = [], []
        all_reduce(statistics, 'mean')
        # A batch of all ranks has supervision for a task if the part of any rank has. Its loss is the mean over all
        # ranks, as DDP's gradient is: losses are divided by the number of items over all ranks.
        made, statistics = statistics[-1:], statistics[:-1].unflatten(0, (batches, -1))
        statistics[:, n : 2 * n] = (statistics[:, n : 2 * n] > 0).float()
        self._waiting.append(Later(torch.cat([statistics.sum(0), made])))
        self._read(self.delay)

    def _read(self, delay: int) -> None:
        """Let the losses of all steps change the weights, but those of the last ``delay`` ones."""
        while len(self._waiting) > delay:
            *values, steps = self._waiting.popleft().tolist()
            self._update(values, stepped=steps == 1)

    def _update(self, values: list[float], stepped: bool) -> None:
        if not stepped:
            return
        if not all(map(math.isfinite, values)):
            if not self._warned:
                print_log(
                    'LossBalanceHook: a loss or its gradient is not finite; such steps do not change the '
                    'weights (this is logged once)',
                    'current',
                    logging.WARNING,
                )
            self._warned = True
            return
        n = len(self.tasks)
        counts = values[n : 2 * n]
        if 0 in counts:
            return
        losses, norms = (
            {task: value / count for task, value, count in zip(self.tasks, part, counts)}
            for part in (values[:n], values[2 * n :])
        )
        self.weights = self._check_weights(self.strategy.update(losses, norms or None))

    def _check_weights(self, weights: dict[str, float]) -> dict[str, float]:
        if set(weights) != set(self.tasks) or not all(math.isfinite(w) and w >= 0 for w in weights.values()):
            raise UserError(
                f'strategy {type(self.strategy).__name__} has to give one finite weight, zero or more, '
                f'for each of the tasks {list(self.tasks)}, but it gave {weights}'
            )
        return weights

    def _assign(self, losses: dict) -> None:
        without = [name for name in losses if 'loss' in name and self._find_task(name) is None]
        for task, prefixes in self.tasks.items():
            if task not in self._task_of.values():
                raise UserError(
                    f'LossBalanceHook: task {task!r} (prefix {", ".join(prefixes)}) matches none of the '
                    f'losses {", ".join(losses)}: correct `tasks`, or leave this one out'
                )
        if without:
            print_log(f'LossBalanceHook: weight 1 for the losses of no task: {", ".join(without)}', 'current')

    def _find_task(self, name: str) -> str | None:
        if name not in self._task_of:
            matches = [
                task
                for task, prefixes in self.tasks.items()
                if any(fnmatchcase(name, f'{prefix}*') for prefix in prefixes)
            ]
            if len(matches) > 1:
                raise UserError(
                    f'LossBalanceHook: {name} belongs to several tasks, {", ".join(matches)}: correct `tasks`'
                )
            # parse_losses sums only values with "loss" in their name and logs the others.
            self._task_of[name] = matches[0] if matches and 'loss' in name else None
        return self._task_of[name]

    def catch_up(self, runner: Runner) -> None:
        """Take all losses into account; called on all ranks, so that their weights stay the same."""
        self._read(0)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if get_world_size() == 1:
            self._read(0)
        checkpoint['loss_balance'] = dict(
            strategy=type(self.strategy).__name__, weights=dict(self.weights), state=self.strategy.state_dict()
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # Called for load_from, too; only in before_train it is known whether the training is resumed.
        self._loaded = checkpoint.get('loss_balance')

    def _restore(self, runner: Runner) -> None:
        loaded, self._loaded = self._loaded, None
        if runner.iter == 0 or (loaded is None and self._model is not None):
            return
        if loaded is None:
            print_log(
                'LossBalanceHook: the checkpoint was trained without it, so the balance starts afresh',
                'current',
                logging.WARNING,
            )
            return
        saved = loaded['strategy'], sorted(loaded['weights'])
        wanted = type(self.strategy).__name__, sorted(self.tasks)
        if saved != wanted:
            raise UserError(
                'LossBalanceHook: the checkpoint to resume has strategy and tasks {} {}, but the config '
                '{} {}: keep them, or start afresh with load_from'.format(*saved, *wanted)
            )
        # mmengine loads a resumed state to the model's device; strategies are on the CPU.
        state = apply_to(loaded['state'], lambda value: isinstance(value, Tensor), lambda value: value.cpu())
        self.strategy.load_state_dict(state)
        self.weights = dict(loaded['weights'])


def restore_parse_losses(model: nn.Module) -> None:
    """Restore the model's ``parse_losses``, if a :class:`LossBalanceHook` has replaced it."""
    current = vars(model).get('parse_losses')
    if hasattr(current, REPLACED):
        del model.parse_losses
        replaced = getattr(current, REPLACED)
        if replaced is not None:
            model.parse_losses = replaced


def build_strategy(strategy: str | dict, tasks: Sequence[str]) -> BalanceStrategy:
    """Build a strategy from ``'name'`` or ``dict(type='name', option=...)``; raises a sentence for unknown ones."""
    options = dict(type=strategy) if isinstance(strategy, str) else dict(strategy)
    kind = options.pop('type', None)
    cls = BALANCE_STRATEGIES.get(kind) if isinstance(kind, str) else kind
    if not (inspect.isclass(cls) and issubclass(cls, BalanceStrategy)):
        known = ', '.join(sorted(BALANCE_STRATEGIES.module_dict))
        raise UserError(f'there is no loss balance strategy {kind!r}; there are: {known}')
    signature = inspect.signature(cls)
    try:
        signature.bind(tasks=tasks, **options)
    except TypeError as error:
        takes = ', '.join(name for name in signature.parameters if name != 'tasks') or 'no options'
        raise UserError(f'loss balance strategy {kind!r}: {error}; it takes: {takes}') from None
    return cls(tasks=tasks, **options)

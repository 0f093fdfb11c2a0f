"""Stop a training, or omit a step, when a loss is not finite; mmengine trains on, with weights that are NaN."""

import logging
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.errors import UserError

from .bad_batch import BadBatch, expressions_of, losses_of, not_finite, save_batch
from .step_guard import Outcome, StepGuard

ACTIONS = ('stop', 'skip')
# Files that a run writes at most; each has a batch of images.
MAX_FILES = 20


class _Iteration(NamedTuple):
    """What is needed of an iteration to report it."""

    number: int
    epoch: int
    data_batch: Any
    outputs: dict | None
    outcomes: list


@HOOKS.register_module()
class CheckLossHook(Hook):
    """Acts at once on a loss that is not finite: stops the training, or omits the step.

    A step in which a loss, or without a loss scaler a gradient, is not finite is never made, so weights and the state
    of the optimiser stay as they were (:class:`StepGuard`). This is decided alike on all ranks. If batches are
    accumulated, the whole step is omitted. A float16 gradient that overflows is normal, and left to the scaler.

    The batch, as the data loader gave it, is saved to ``{work_dir}/not_finite/iter_{N}.pth`` (``iter_{N}-rank{R}.pth``
    if there are several ranks), never over an existing file, and at most 20 in a run: a dict with ``iter``, ``epoch``,
    ``rank``, ``losses``, ``expressions`` (ids and texts) and ``batch``. ``torch.load(FILE, weights_only=False)`` reads
    it, and the model's data preprocessor takes ``batch``; what is drawn at random there is drawn anew.

    mmdet's ``CheckInvalidLossHook`` looks at every 50th loss by default, after the step, when the weights are spoiled
    already, on each rank by itself, and does not say what the batch was.

    Args:
        action: ``'stop'`` raises an error with the losses, the expressions and the file; ``'skip'`` logs the same as a
            warning and goes on with the next batch.
        max_in_a_row: With ``'skip'``, the number of steps in a row that are omitted; one more stops the training.
        gradients: Whether gradients are checked as well, by their norms. Without it, a gradient that is not finite at a
            finite loss spoils the weights, and it is the next batch that is reported.
        delay: The number of iterations after which an iteration is reported. With 0, a GPU waits for the host in every
            step. With 1, it does not if the optimiser is a fused one, which omits the step by itself, and there is no
            loss scaler; the report comes one iteration later, at the latest before a checkpoint is saved, a validation
            begins or the training ends.

    Raises:
        UserError: A loss or a gradient is not finite, and ``action`` is ``'stop'`` or too many steps were omitted.
    """

    # Before other hooks see the losses.
    priority = 'VERY_HIGH'

    def __init__(self, action: str = 'stop', max_in_a_row: int = 10, gradients: bool = True, delay: int = 0) -> None:
        if action not in ACTIONS:
            raise UserError(f"CheckLossHook: action is 'stop' or 'skip', not {action!r}.")
        if max_in_a_row < 1:
            raise UserError(f'CheckLossHook: max_in_a_row is at least 1, not {max_in_a_row}.')
        if delay < 0:
            raise UserError(f'CheckLossHook: delay is a number of iterations, 0 or more, not {delay}.')
        self.action = action
        self.max_in_a_row = max_in_a_row
        self.gradients = gradients
        self.delay = delay
        self._guards: list[StepGuard] = []
        self._waiting: deque[_Iteration] = deque()
        self._in_a_row: list[int] = []
        self._files = 0

    def before_train(self, runner: Runner) -> None:
        """Put a guard on each optimiser."""
        wrappers = runner.optim_wrapper
        wrappers = list(wrappers.values()) if isinstance(wrappers, OptimWrapperDict) else [wrappers]
        self._guards = [StepGuard(wrapper, self.gradients, self.delay > 0) for wrapper in wrappers]
        self._waiting.clear()
        self._in_a_row = [0 for _ in self._guards]

    def before_val(self, runner: Runner) -> None:
        """Report what was not reported yet."""
        self._look(runner, 0)

    def catch_up(self, runner: Runner) -> None:
        """Report what was not reported yet; called on all ranks."""
        self._look(runner, 0)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Report what was not reported yet, if mmengine's own CheckpointHook saves; it does so on rank 0 alone."""
        if get_world_size() == 1:
            self._look(runner, 0)

    def after_train(self, runner: Runner) -> None:
        """Report what was not reported yet, and remove the guards."""
        self._look(runner, 0)
        for guard in self._guards:
            guard.remove()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Report a loss or a gradient of this iteration that was not finite."""
        taken = [guard.take() for guard in self._guards]
        if not any(one.flags for one in taken):
            raise RuntimeError(
                f'CheckLossHook saw no loss, because train_step of {type(runner.model).__name__} does not call '
                'update_params of its optimiser wrapper'
            )
        self._waiting.append(_Iteration(runner.iter + 1, runner.epoch + 1, data_batch, outputs, taken))
        self._look(runner, self.delay)

    def _look(self, runner: Runner, delay: int) -> None:
        """Look at the iterations that wait, but the last ``delay`` ones."""
        while len(self._waiting) > delay:
            iteration = self._waiting.popleft()
            self._judge(runner, iteration, [one.read() for one in iteration.outcomes])

    def _judge(self, runner: Runner, iteration: _Iteration, outcomes: list[Outcome]) -> None:
        flags = [one for outcome in outcomes for one in outcome.flags]
        gradients = [parameter for outcome in outcomes for parameter in outcome.bad_gradients]
        for number, outcome in enumerate(outcomes):
            if outcome.omitted is not None:
                self._in_a_row[number] = self._in_a_row[number] + 1 if outcome.omitted else 0
        in_a_row = max(self._in_a_row)
        bad_loss = any(one.anywhere for one in flags)
        if bad_loss or gradients:
            mine = any(one.here for one in flags) or not bad_loss
            said = self._report(runner, iteration, mine, [] if bad_loss else gradients)
            if self.action == 'stop':
                self._waiting.clear()
                raise UserError(
                    f'{said}. The step was not made. Try a lower learning rate, a longer warm-up or '
                    'optim_wrapper.type=OptimWrapper (float32), look at the batch, or omit such steps with '
                    "CheckLossHook(action='skip')."
                )
            print_log(f'{said}; this step is omitted', 'current', logging.WARNING)
        if in_a_row > self.max_in_a_row:
            raise UserError(
                f'CheckLossHook: at iteration {iteration.number}, {in_a_row} steps in a row had losses or gradients '
                f'that were not finite (max_in_a_row={self.max_in_a_row}), so the training does not recover: start '
                'again from an earlier checkpoint with a lower learning rate or a longer warm-up; the batches are in '
                f'{Path(runner.work_dir, "not_finite")}.'
            )

    def _report(self, runner: Runner, iteration: _Iteration, mine: bool, gradients: list[Tensor]) -> str:
        """What happened, the same on all ranks; saves the batch of each rank that it happened on."""
        batch = None
        if mine:
            losses, expressions = losses_of(iteration.outputs), expressions_of(iteration.data_batch)
            content = dict(
                iter=iteration.number,
                epoch=iteration.epoch,
                rank=get_rank(),
                losses=losses,
                expressions=expressions,
                batch=iteration.data_batch,
            )
            batch = BadBatch(get_rank(), not_finite(losses), expressions, self._save(runner, content))
        # All ranks wait here for the files: the first one that ends in an error ends the others.
        batches = [one for one in all_gather_object(batch) if one is not None]
        if gradients:
            what = f'gradients are not finite, though the losses are, in {_names(runner, gradients)}'
        else:
            what = 'a loss is not finite'
        return f'CheckLossHook: at iteration {iteration.number} {what}; {"; ".join(one.describe() for one in batches)}'

    def _save(self, runner: Runner, content: dict) -> str | None:
        if self._files >= MAX_FILES:
            return None
        name = f'iter_{content["iter"]}{f"-rank{get_rank()}" if get_world_size() > 1 else ""}.pth'
        try:
            path = save_batch(Path(runner.work_dir) / 'not_finite', name, content)
        except OSError as error:
            print_log(f'CheckLossHook: the batch cannot be saved ({error})', 'current', logging.WARNING)
            return None
        self._files += 1
        return path


def _names(runner: Runner, parameters: list[Tensor]) -> str:
    """Names of the first of these parameters, and how many they are."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    wanted = {id(parameter) for parameter in parameters}
    names = [name for name, value in model.named_parameters() if id(value) in wanted]
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more parameters' if len(names) > 3 else '')

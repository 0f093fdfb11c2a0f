"""Learning rates that follow from what was loaded: a reduced rate is for parameters that come from a checkpoint."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import (
    DefaultOptimWrapperConstructor,
    OneCycleParamScheduler,
    OptimWrapper,
    OptimWrapperDict,
    _ParamScheduler,
)
from mmengine.runner import Runner
from torch import nn
from torch.optim import Optimizer

from mmuniqrnet.checkpoints.recording import LoadRecorder
from mmuniqrnet.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.tables import text_table

# The key in a parameter group whose value says where its parameters come from. It is saved with the optimiser, so a
# training that is resumed has it, together with the learning rate that followed from it.
START = 'start'
UNDECIDED, LOADED, RANDOM = 'undecided', 'loaded', 'random'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LoadedLrOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, but an ``lr_mult`` below 1 is only for parameters that are loaded from a checkpoint.

    ``paramwise_cfg`` is as in mmengine. A ``lr_mult`` between 0 and 1 in its ``custom_keys`` is for pre-trained parts;
    a parameter that starts with random values gets the full learning rate instead. mmengine builds the optimiser before
    anything is loaded, so :class:`LoadedLrHook` makes this decision, when the training starts.

    Raises:
        UserError: In the first step, if there is no LoadedLrHook.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        wrapper = super().__call__(model)
        for group in wrapper.optimizer.param_groups:
            if 0 < group.get('lr_mult', 1) < 1:
                group[START] = UNDECIDED
        wrapper.optimizer.register_step_pre_hook(_require_decision)
        return wrapper


def _require_decision(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    if any(group.get(START) == UNDECIDED for group in optimizer.param_groups):
        raise UserError(
            'LoadedLrOptimWrapperConstructor needs a hook: add default_hooks=dict(loaded_lr=dict('
            "type='mmuniqrnet.LoadedLrHook')), or set optim_wrapper.constructor='DefaultOptimWrapperConstructor'."
        )


@HOOKS.register_module()
class LoadedLrHook(Hook):
    """Sets the learning rates that :class:`LoadedLrOptimWrapperConstructor` left open; without it, does nothing.

    Whatever was loaded before the first step counts: text encoder, ``init_cfg`` of any part, ``load_from``. The
    learning rate of a parameter that was not loaded is divided by its ``lr_mult``, in the optimiser and in the
    schedulers. The result is logged. A training that is resumed keeps the learning rates of its checkpoint.

    Raises:
        UserError: If a scheduler is OneCycleLR, which gives all parameters the same learning rate.
    """

    priority = 'LOW'  # after EMAHook has copied the model, whose copy should not be listened to

    def __init__(self) -> None:
        self._recorder: LoadRecorder | None = None

    def before_run(self, runner: Runner) -> None:
        """Start to record what is loaded."""
        if any(_undecided(wrapper) for _, wrapper in _wrappers(runner)):
            self._recorder = LoadRecorder(_bare(runner.model))

    def before_train(self, runner: Runner) -> None:
        """Set the learning rates, unless they came with a checkpoint."""
        if self._recorder is None:
            return
        self._recorder.stop()
        for name, wrapper in _wrappers(runner):
            groups = _undecided(wrapper)
            if groups:
                _decide(wrapper, groups, self._recorder, _schedulers(runner, name))
                print_log(_describe(groups, _bare(runner.model)), logger='current')
        self._recorder = None


def _bare(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def _wrappers(runner: Runner) -> Iterator[tuple[str | None, OptimWrapper]]:
    """The optimiser wrappers of a training and their names; none before a test, when they are not built."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict):
        yield from wrapper.items()
    elif isinstance(wrapper, OptimWrapper):
        yield None, wrapper


def _schedulers(runner: Runner, name: str | None) -> list[_ParamScheduler]:
    """The schedulers of one optimiser's learning rate."""
    schedulers = runner.param_schedulers or []
    if isinstance(schedulers, dict):
        schedulers = schedulers[name]
    return [scheduler for scheduler in schedulers if scheduler.param_name == 'lr']


def _undecided(wrapper: OptimWrapper) -> dict[int, dict[str, Any]]:
    """The parameter groups, by their index, whose learning rate is open."""
    return {i: group for i, group in enumerate(wrapper.param_groups) if group.get(START) == UNDECIDED}


def _decide(
    wrapper: OptimWrapper,
    groups: dict[int, dict[str, Any]],
    recorder: LoadRecorder,
    schedulers: list[_ParamScheduler],
) -> None:
    if any(isinstance(scheduler, OneCycleParamScheduler) for scheduler in schedulers):
        raise UserError(
            'OneCycleLR gives all parameters the same learning rate and ignores every lr_mult: use another scheduler, '
            'or set optim_wrapper.constructor=DefaultOptimWrapperConstructor and remove the lr_mult.'
        )
    for index, group in groups.items():
        if any(recorder.has_loaded(parameter) for parameter in group['params']):
            group[START] = LOADED
            continue
        # The current rate may be that of a warm-up, so all of them are scaled.
        scale = 1 / group['lr_mult']
        group.update({START: RANDOM, 'lr_mult': 1.0, 'lr': group['lr'] * scale})
        if 'initial_lr' in group:
            group['initial_lr'] *= scale
        for scheduler in schedulers:
            if hasattr(scheduler, 'base_values'):  # ReduceOnPlateau has none
                scheduler.base_values[index] *= scale


def _describe(groups: dict[int, dict[str, Any]], model: nn.Module) -> str:
    """A table of the parts that were decided on: how many parameters were loaded, and their learning rates."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    for group in groups.values():
        lr = f'{float(group.get("initial_lr", group["lr"])):.3g}'
        for parameter in group['params']:
            part = '.'.join(names.get(id(parameter), 'other').split('.')[:2])
            counts[part, group[START], lr] += 1
    rows = [
        {'part': part, 'parameters': count, 'weights': start, 'learning rate': lr}
        for (part, start, lr), count in counts.items()
    ]
    return 'Learning rates of the parts with an lr_mult below 1, which is for weights that were loaded:\n' + text_table(
        rows, right=['learning rate']
    )

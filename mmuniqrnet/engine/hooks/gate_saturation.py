"""Log how many gates are saturated, because a gate that is 0 or 1 for every image has stopped learning."""

from collections.abc import Callable

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmuniqrnet.models.layers import ChannelGate, SpatialGate
from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.errors import UserError

LOW, HIGH = 0.02, 0.98


@HOOKS.register_module()
class GateSaturationHook(Hook):
    """Logs in training the share of gates below 0.02 or above 0.98.

    The figures are ``gates/saturated_{part}`` (channel gates, over the channels of all samples) and
    ``gates/saturated_spatial_{part}`` (over all tokens), where the part is ``backbone`` or ``neck``, from the batch of
    this process in the iteration that is logged. A spatial gate may well be 0 for most of an image; channel gates
    should not be saturated.

    The gates are read by forward hooks that exist in that iteration only, so nothing is computed in the others. A
    model without gates logs nothing. Gates with a ``gate_limit`` of less than 3.9 can not exceed these bounds.

    Args:
        interval: Log every this many iterations; best the interval of the LoggerHook.

    Raises:
        ValueError: If ``interval`` is less than 1.
    """

    # Before the LoggerHook, which prints the figures of the same iteration.
    priority = 'NORMAL'

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise UserError(f'GateSaturationHook: interval is a number of iterations, 1 or more, not {interval}.')
        self.interval = interval
        self._counts: dict[str, list[tuple[Tensor, int]]] = {}
        self._handles: list = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Attach to the gates if this iteration is to be logged."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._counts = {}
        self._handles = [
            module.register_forward_hook(self._counter(_figure(name, module)))
            for name, module in model.named_modules()
            if isinstance(module, ChannelGate | SpatialGate)
        ]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Log the figures and detach."""
        self._detach()
        for figure, counts in self._counts.items():
            share = sum(saturated for saturated, _ in counts) / sum(total for _, total in counts)
            runner.message_hub.update_scalar(f'train/gates/{figure}', share)
        self._counts = {}

    def after_train(self, runner: Runner) -> None:
        """Detach, if the training ended within an iteration."""
        self._detach()

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _counter(self, figure: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def count(_module: nn.Module, _inputs: tuple, gate: Tensor) -> None:
            gate = gate.detach()
            saturated = ((gate < LOW) | (gate > HIGH)).sum()  # stays on the device: no synchronisation here
            self._counts.setdefault(figure, []).append((saturated, gate.numel()))

        return count


def _figure(name: str, gate: nn.Module) -> str:
    part = name.partition('.')[0]
    return f'saturated_spatial_{part}' if isinstance(gate, SpatialGate) else f'saturated_{part}'

"""Notice the signals by which a scheduler asks a training to end, in the training and in its loading processes."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.sharedctypes import RawValue
from types import FrameType, TracebackType
from typing import Any

from torch.utils.data import DataLoader

from mmuniqrnet.utils.errors import UserError

# EX_TEMPFAIL of sysexits.h: what was asked for is not done yet, ask again.
STOPPED = 75


class TrainingStopped(SystemExit):
    """A training that was asked to end, and has saved where it was; the status of the process is 75."""

    def __init__(self) -> None:
        super().__init__(STOPPED)


class StopSignals:
    """Notes that one of the signals came; when the context ends, they have the effect again that they had before.

    Args:
        names: Such as ``('SIGTERM', 'SIGUSR1')``; none leaves all signals as they are.

    Attributes:
        received: The name of the last one that came; None if none came.
    """

    def __init__(self, names: str | Sequence[str]) -> None:
        names = [names] if isinstance(names, str) else list(names)
        unknown = [name for name in names if not name.startswith('SIG') or not hasattr(signal, name)]
        if unknown or 'SIGKILL' in names or 'SIGSTOP' in names:
            raise UserError(
                f'stop_signals={names}: {", ".join(unknown) or "SIGKILL or SIGSTOP"} can not be waited for on '
                "this system; the default is ('SIGTERM', 'SIGUSR1')."
            )
        self.signals = [signal.Signals[name] for name in names]
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._ended = RawValue('b', 1)  # read by the loading processes

    def __enter__(self) -> 'StopSignals':
        self._ended.value = 0
        if threading.current_thread() is threading.main_thread():  # python allows handlers there only
            self._before = {number: signal.signal(number, self._note) for number in self.signals}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.value = 1
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name

    def keep_from_workers(self, loader: DataLoader) -> None:
        """Let the loading processes of a data loader, which are not started yet, ignore the signals in this context.

        Schedulers signal all processes of a job. Without its loading processes the training could not finish its step.
        """
        if not isinstance(loader.worker_init_fn, _Shielded):
            loader.worker_init_fn = _Shielded(tuple(self.signals), self._ended, loader.worker_init_fn)


class _Shielded:
    """A ``worker_init_fn`` for processes that ignore signals while the training runs."""

    def __init__(self, signals: tuple[signal.Signals, ...], ended: Any, then: Callable[[int], None] | None) -> None:
        self.signals, self.ended, self.then = signals, ended, then

    def __call__(self, worker: int) -> None:
        for number in self.signals:
            signal.signal(number, self._end)
        if self.then is not None:
            self.then(worker)

    def _end(self, number: int, frame: FrameType | None) -> None:
        if self.ended.value:  # torch and python end workers that are left by SIGTERM
            os._exit(0)

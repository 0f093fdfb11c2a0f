"""Checkpoints that stay complete if the training is killed, at any time."""

import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.runner import Runner

from mmuniqrnet.engine.later import catch_up
from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.io import atomic_path

ATOMIC = 'mmuniqrnet.atomic'


class AtomicLocalBackend(LocalBackend):
    """mmengine's backend for local files, whose ``put`` never leaves a part of a file under its name."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; a file of this name stays as it was until the new one is on the disk."""
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(filepath) as part, part.open('wb') as file:
            file.write(obj)
            file.flush()
            os.fsync(file.fileno())


register_backend(ATOMIC, AtomicLocalBackend, force=True)


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's CheckpointHook, with the same arguments; a kill at any time leaves a whole checkpoint to resume.

    mmengine's writes into the file of the final name, and removes the oldest checkpoint, with ``max_keep_ckpts=1`` the
    only one, and the best one before it writes the next. Here a file gets its name when it is complete, and the older
    ones are removed after that; so one more than ``max_keep_ckpts`` needs space on the disk for a moment.
    """

    file_backend: Any
    backend_args: dict | None

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if type(self.file_backend) is LocalBackend and not self.backend_args and not self.file_client_args:
            self.backend_args = dict(backend=ATOMIC)
            if is_main_process():
                for part in Path(self.out_dir).glob('.*.pth.*.part'):  # of a training that was killed
                    part.unlink(missing_ok=True)
        if not isinstance(self.file_backend, _RemovesLater):
            self.file_backend = _RemovesLater(self.file_backend)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, int]) -> None:
        catch_up(runner)
        super()._save_checkpoint_with_step(runner, step, meta)
        self._remove_outdated()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        catch_up(runner)
        super()._save_best_checkpoint(runner, metrics)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        best = getattr(self, 'best_ckpt_path_dict', {}).values()
        self.file_backend.remove_now(
            but={str(path) for path in (self.last_ckpt, getattr(self, 'best_ckpt_path', None), *best)}
        )


class _RemovesLater:
    """A file backend that only notes what to remove, until ``remove_now``."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.outdated: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.outdated.append(('remove', path))

    def rmtree(self, path: str) -> None:
        self.outdated.append(('rmtree', path))

    def remove_now(self, but: set[str]) -> None:
        """Remove all that was noted, except paths that were written again since."""
        outdated, self.outdated = self.outdated, []
        for method, path in outdated:
            if str(path) not in but:
                getattr(self.backend, method)(path)

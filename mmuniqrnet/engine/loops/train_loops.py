"""mmengine's two training loops, which stop at a signal and resume exactly where they stopped."""

from collections.abc import Sequence
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmuniqrnet.registry import LOOPS

from .resumption import Resumption, seeded_dataloader

SIGNALS = ('SIGTERM', 'SIGUSR1')


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """EpochBasedTrainLoop that stops at a signal, and goes on exactly, inside an epoch too (see the page on scaling).

    Args:
        runner: The runner.
        dataloader: Config of the data loader of the training set.
        max_epochs: Epochs to train.
        val_begin: The first epoch after which there is a validation.
        val_interval: Epochs from one validation to the next.
        dynamic_intervals: Pairs of an epoch and the interval from it on.
        stop_signals: Names of the signals at which it saves and stops.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict | DataLoader,
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        stop_signals: Sequence[str] = SIGNALS,
    ) -> None:
        super().__init__(
            runner, seeded_dataloader(runner, dataloader), max_epochs, val_begin, val_interval, dynamic_intervals
        )
        self.resumption = Resumption(self, stop_signals)

    def run(self) -> nn.Module:
        """Train; raises TrainingStopped after a signal."""
        with self.resumption.signals:
            self.runner.call_hook('before_train')
            self.resumption.go_on(len(self.dataloader))
            self._decide_current_val_interval()
            if self._iter == self._epoch * len(self.dataloader) and not self.resumption.validated:
                self._validate_if_due()
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._decide_current_val_interval()
                self._validate_if_due()
            self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train to the end of the epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first = self._iter - self._epoch * len(self.dataloader)
        self.dataloader.batch_sampler.start_at(self._epoch, first)
        for number, data_batch in enumerate(self.dataloader, first):
            self.run_iter(number, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Train one batch."""
        self.resumption.begin_iteration()
        super().run_iter(idx, data_batch)
        self.resumption.end_iteration()

    def _validate_if_due(self) -> None:
        if (
            self.runner.val_loop is not None
            and self._epoch >= max(self.val_begin, 1)
            and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)
        ):
            self.resumption.validate()


@LOOPS.register_module()
class ResumableIterLoop(IterBasedTrainLoop):
    """IterBasedTrainLoop that stops at a signal, and goes on exactly (see the page on scaling).

    Args:
        runner: The runner.
        dataloader: Config of the data loader of the training set.
        max_iters: Iterations to train.
        val_begin: The first iteration after which there is a validation.
        val_interval: Iterations from one validation to the next.
        dynamic_intervals: Pairs of an iteration and the interval from it on.
        stop_signals: Names of the signals at which it saves and stops.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict | DataLoader,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        stop_signals: Sequence[str] = SIGNALS,
    ) -> None:
        super().__init__(
            runner, seeded_dataloader(runner, dataloader), max_iters, val_begin, val_interval, dynamic_intervals
        )
        self.resumption = Resumption(self, stop_signals)
        self.dataloader.batch_sampler.endless = True
        del self.dataloader_iterator  # begins at the first batch

    def run(self) -> nn.Module:
        """Train; raises TrainingStopped after a signal."""
        with self.resumption.signals:
            self.runner.call_hook('before_train')
            self.resumption.go_on(None)
            self.runner.call_hook('before_train_epoch')
            self._decide_current_val_interval()
            if not self.resumption.validated:
                self._validate_if_due()
            self.dataloader.batch_sampler.start_at(0, self._iter)
            self.dataloader_iterator = iter(self.dataloader)
            while self._iter < self._max_iters and not self.stop_training:
                self.runner.model.train()
                self.run_iter(next(self.dataloader_iterator))
                self._decide_current_val_interval()
                self._validate_if_due()
            self.runner.call_hook('after_train_epoch')
            self.runner.call_hook('after_train')
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        """Train one batch."""
        self.resumption.begin_iteration()
        super().run_iter(data_batch)
        self.resumption.end_iteration()

    def _validate_if_due(self) -> None:
        if (
            self.runner.val_loop is not None
            and self._iter >= max(self.val_begin, 1)
            and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)
        ):
            self.resumption.validate()

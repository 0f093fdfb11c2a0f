"""What a training loop needs to stop between two steps, and to resume as if it had not stopped."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, get_rank, get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader

from mmuniqrnet.engine.later import catch_up
from mmuniqrnet.utils.errors import UserError

from .batches import STEP, VALIDATION, SeededBatchSampler, set_seeds
from .same_steps import Steps, check_same_steps
from .stop_signals import StopSignals, TrainingStopped

# The file that a stopped training leaves; the next one that stops replaces it.
STOPPED_FILE = 'stopped.pth'


def seeded_dataloader(runner: Runner, dataloader: dict | DataLoader) -> DataLoader:
    """Build the data loader of the training set, with :class:`SeededBatchSampler`.

    Raises:
        UserError: It is already built with another batch sampler.
    """
    if isinstance(dataloader, DataLoader):
        if not isinstance(dataloader.batch_sampler, SeededBatchSampler):
            raise UserError(
                'ResumableEpochLoop and ResumableIterLoop need the config of train_dataloader, not a DataLoader, or '
                'one with a SeededBatchSampler.'
            )
        return dataloader
    config = dict(dataloader)
    config['batch_sampler'] = dict(
        type=SeededBatchSampler,
        batch_sampler=config.pop('batch_sampler', None),
        drop_last=config.pop('drop_last', False),
    )
    return runner.build_dataloader(config, seed=runner.seed, diff_rank_seed=_seeds_differ(runner))


class Resumption:
    """Stops a loop between two steps, and lets a resumed loop go on as if it had not been stopped.

    Everything that is random follows from the seed of the run and a position: an iteration's dropout from its number,
    the transforms of a sample from its place in the order of its epoch. So no state of a random generator is saved, and
    a training can be resumed from any of its checkpoints, on a machine with other loading processes as well.

    - After a step in which a signal came, on any rank, the loop saves ``stopped.pth`` and ends the process with status
      75. A step is complete if the optimiser has stepped: with accumulated gradients, that is after several batches.
      With several ranks, one number is reduced over them after each step, by the hosts alone (gloo).
    - A signal that comes in a validation ends it; the next start validates first.
    - A checkpoint that was saved before the validation of its own step is followed by this validation when it is
      resumed, also if the validation had been done before the training was killed. Its state is that before it.
    - If a checkpoint was saved between the batches of one step, the gradients of the batches before it are computed
      again.

    Args:
        loop: The loop, with its data loader.
        stop_signals: Names of the signals to stop at.
    """

    def __init__(self, loop: BaseLoop, stop_signals: Sequence[str]) -> None:
        self.loop, self.runner = loop, loop.runner
        self.batches: SeededBatchSampler = loop.dataloader.batch_sampler
        # The same on all ranks, also where their own seeds differ.
        self.batches.seed = self.runner.seed - (get_rank() if _seeds_differ(self.runner) else 0)
        self.signals = StopSignals(stop_signals)
        self.signals.keep_from_workers(loop.dataloader)
        self.validated = True
        self._validated_at: int | None = None
        self._loaded: dict[str, Any] | None = None
        self.runner.register_hook(_ResumptionHook(self), priority='VERY_HIGH')

    @cached_property
    def _group(self) -> Any:
        # All ranks make it together, and so it is made where all ranks use it: a loop may be built by one rank alone,
        # because mmengine's `runner.iter` builds it, also in a test.
        return torch.distributed.new_group(backend='gloo') if get_world_size() > 1 else None

    def state_dict(self, iteration: int) -> dict[str, Any]:
        """What a checkpoint after ``iteration`` iterations has to remember."""
        return dict(
            seed=self.batches.seed,
            sampler_seed=getattr(self.batches.sampler, 'seed', None),
            steps=Steps.of(self.batches, len(self.loop.dataloader.dataset)).as_dict(),
            validated=self._validated_at == iteration,
            stop_training=self.loop.stop_training,
        )

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Keep what a checkpoint has remembered until :meth:`go_on`, where it is known whether it is resumed."""
        self._loaded = state

    def go_on(self, batches_of_epoch: int | None) -> None:
        """Restore the state of the checkpoint that is resumed, if one is.

        Args:
            batches_of_epoch: Number of batches in an epoch; None if there are no epochs.

        Raises:
            UserError: The training can not go on at the same sample.
        """
        if self.runner.val_loop is not None:
            self.signals.keep_from_workers(self.runner.val_loop.dataloader)
        state, self._loaded = self._loaded, None
        done = self.loop.iter
        if done == 0:
            return
        if state is None:
            self.runner.logger.warning(
                'The checkpoint was not saved by ResumableEpochLoop or ResumableIterLoop: the training goes on, but '
                'the order of the data and the random numbers are not those of the training before.'
            )
            return
        at_start = batches_of_epoch is not None and done % batches_of_epoch == 0
        notice = check_same_steps(
            Steps(**state['steps']), Steps.of(self.batches, len(self.loop.dataloader.dataset)), at_start
        )
        if notice:
            self.runner.logger.warning(notice)
        self.batches.seed = state['seed']
        if state['sampler_seed'] is not None:
            self.batches.sampler.seed = state['sampler_seed']
        self.validated, self.loop.stop_training = state['validated'], state['stop_training']
        if self.validated:
            self._validated_at = done
        for hook in self.runner.hooks:
            if isinstance(hook, CheckpointHook):  # it forgets that it has saved, and then not all of a new best score
                hook.last_ckpt = self.runner.message_hub.runtime_info.get('last_ckpt')
        self._restore_gradients(batches_of_epoch)

    def begin_iteration(self) -> None:
        """Before the hooks and the network of an iteration."""
        set_seeds(STEP, self.runner.seed, self.loop.iter, devices=True)

    def end_iteration(self) -> None:
        """After all hooks of an iteration; raises TrainingStopped if a signal came on any rank."""
        wrapper = self.runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper) or wrapper.should_update():
            self._stop_if_asked()

    def validate(self) -> None:
        """Run the validation; raises TrainingStopped if a signal came on any rank."""
        self._validated_at = self.loop.iter
        set_seeds(VALIDATION, self.runner.seed, self.loop.iter, devices=True)
        try:
            self.runner.val_loop.run()
        except _ValidationStopped:
            self._validated_at = None
            for hook in self.runner.hooks:
                if isinstance(hook, EMAHook):  # the averaged weights are in the model
                    hook.after_val_epoch(self.runner)
            self._stop()
        self._stop_if_asked()

    def is_asked_to_stop(self) -> bool:
        """Whether a signal came on any rank; all ranks have to ask together."""
        received = self.signals.received is not None
        return received if get_world_size() == 1 else bool(self.reduce(int(received), 'max'))

    def reduce(self, number: int, how: str) -> int:
        """The ``'max'`` or ``'min'`` of a number over all ranks, without waiting for their GPUs."""
        value = torch.tensor([number])
        all_reduce(value, how, group=self._group)
        return int(value.item())

    def _stop_if_asked(self) -> None:
        if self.is_asked_to_stop():
            self._stop()

    def _stop(self) -> None:
        path = save_stopped(self.runner, dict(epoch=self.loop.epoch, iter=self.loop.iter))
        self.runner.logger.info(
            f'{self.signals.received or "A signal on another rank"}: stopped after iteration {self.loop.iter}, and '
            f'saved {path}; with --resume, the training goes on from there.'
        )
        barrier()  # a launcher that ends all ranks when one ends must not end the one that saves
        raise TrainingStopped

    def _restore_gradients(self, batches_of_epoch: int | None) -> None:
        """Compute again the gradients of the batches before the checkpoint that belong to an unfinished step."""
        wrapper, done = self.runner.optim_wrapper, self.loop.iter
        if not isinstance(wrapper, OptimWrapper) or wrapper.should_update():
            return
        first = done - done % wrapper._accumulative_counts
        self.runner.logger.info(
            f'The gradients of iterations {first + 1} to {done}, which belong to a step that was not finished, are '
            'computed again; nothing is lost.'
        )
        model = self.runner.model
        buffers = {name: value.clone() for name, value in model.named_buffers()}
        model.train()
        wrapper._inner_count = first
        for iteration in range(first, done):
            self.batches.start_at(*divmod(iteration, batches_of_epoch) if batches_of_epoch else (0, iteration))
            data_batch = next(iter(self.loop.dataloader))
            set_seeds(STEP, self.runner.seed, iteration, devices=True)
            model.train_step(data_batch, optim_wrapper=wrapper)
        for name, value in model.named_buffers():
            value.copy_(buffers[name])


class _ValidationStopped(Exception):
    """A signal came during a validation."""


class _ResumptionHook(Hook):
    """Writes the state into checkpoints, reads it from them, and ends a validation."""

    def __init__(self, resumption: Resumption) -> None:
        self.resumption = resumption

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['resumption'] = self.resumption.state_dict(checkpoint['meta']['iter'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self.resumption.load_state_dict(checkpoint.get('resumption'))

    def before_val_epoch(self, runner: Runner) -> None:
        # Ranks may differ by one in their number of batches, but have to ask together.
        self.common = self.resumption.reduce(len(runner.val_loop.dataloader), 'min')

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        if batch_idx < self.common and self.resumption.is_asked_to_stop():
            raise _ValidationStopped


def save_stopped(runner: Runner, meta: dict[str, int]) -> str:
    """Save ``stopped.pth`` where the run's checkpoints are, and make it the one that ``--resume`` takes; its path."""
    keeper = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
    folder = runner.work_dir if keeper is None else keeper.out_dir
    options = dict(file_client_args=keeper.file_client_args, backend_args=keeper.backend_args) if keeper else {}
    catch_up(runner)
    remote = '://' in str(folder)
    name = STOPPED_FILE if remote else f'{STOPPED_FILE}.part'
    runner.save_checkpoint(folder, name, meta=meta, by_epoch=False, **options)
    if remote:
        path = f'{folder}/{name}'
    else:
        path = str(Path(folder) / STOPPED_FILE)
        if is_main_process():  # the one before stays until this one is complete
            (Path(folder) / name).replace(path)
    if is_main_process():
        (Path(runner.work_dir) / 'last_checkpoint').write_text(path)
    return path


def _seeds_differ(runner: Runner) -> bool:
    return runner._randomness_cfg.get('diff_rank_seed', False)

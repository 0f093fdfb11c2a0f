"""Trainings of seconds in which everything has a state or is drawn at random, stopped in the middle or not."""

import os
import random
import signal
import uuid
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

SAMPLES, BATCH, EPOCHS = 22, 4, 3  # 6 batches an epoch on one rank, the last of two samples
ITERATIONS = 18


class Drawn(Dataset):
    """Samples that are changed at random, by each of the three generators, if not ``still``."""

    def __init__(self, count: int = SAMPLES, still: bool = False) -> None:
        self.still = still
        self.values = torch.randn(count, 3, generator=torch.Generator().manual_seed(7))
        self.metainfo: dict = {}

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict:
        drawn = 0.0 if self.still else random.random() + np.random.rand() + torch.rand(())
        return dict(inputs=(self.values[index] + drawn).float(), number=index)


class Stateful(BaseModel):
    """Two losses; dropout, and, on one rank, a BatchNorm, whose buffers change in every forward pass."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.BatchNorm1d(8) if get_world_size() == 1 else nn.LayerNorm(8)
        self.shared = nn.Sequential(nn.Linear(3, 8), norm, nn.Dropout(0.5))
        self.box, self.mask = nn.Linear(8, 2), nn.Linear(8, 1)

    def forward(self, inputs: torch.Tensor, number: torch.Tensor, mode: str = 'tensor') -> dict | list:
        features = torch.tanh(self.shared(inputs))
        noise = random.random() + np.random.rand()  # the model may draw from all generators, too
        if mode == 'predict':
            return list(self.box(features) + noise)
        return dict(
            loss_box=(self.box(features) - inputs[:, :2]).abs() * (1 + noise), loss_mask=self.mask(features).square()
        )


class Mean(BaseMetric):
    """The mean of all answers: any change of the weights changes it."""

    def process(self, data_batch: dict, data_samples: list) -> None:
        self.results += [float(answer.sum()) for answer in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(score=float(np.mean(results)))


class Record(Hook):
    """Keeps the samples, as they were drawn, and losses of each iteration, and the metrics of each validation."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.losses: dict[int, tuple] = {}
        self.samples: dict[int, list[tuple[int, float]]] = {}
        self.metrics: dict[int, dict] = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses[runner.iter] = tuple(sorted((name, float(value.detach())) for name, value in outputs.items()))
        drawn = data_batch['inputs'].sum(1).tolist()
        self.samples[runner.iter] = list(zip(data_batch['number'].tolist(), drawn, strict=True))

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.metrics[runner.iter] = dict(metrics)


class Signal(Hook):
    """Sends this process a signal, as a scheduler does, in a batch of the training or of a validation."""

    def __init__(self, iteration: int, in_validation: bool = False, name: str = 'SIGUSR1', rank: int = 0) -> None:
        self.iteration, self.in_validation, self.name, self.rank = iteration, in_validation, name, rank

    def _send(self, runner: Runner) -> None:
        if runner.iter == self.iteration and runner.rank == self.rank:
            os.kill(os.getpid(), getattr(signal, self.name))

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if not self.in_validation:
            self._send(runner)

    def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
        if self.in_validation and batch_idx == 1:
            self._send(runner)


def make_job(
    work_dir: Path | str,
    loop: str,
    *hooks: Hook,
    accumulate: int = 2,
    workers: int = 0,
    batch: int = BATCH,
    resume: bool = False,
    sampler: dict | None = None,
    samples: int = SAMPLES,
    **options,
) -> Runner:
    """A training of three epochs or 18 iterations, with a validation after each third of it.

    No seed is given: a resumed training has to find that of the first one in its checkpoint.
    """
    torch.manual_seed(12 if resume else 11)  # what is drawn before a resumed training must not matter
    by_epoch = loop == 'epoch'
    loader = dict(
        dataset=Drawn(samples),
        batch_size=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=dict(type='default_collate'),
    )
    cfg = (
        dict(type='ResumableEpochLoop', max_epochs=EPOCHS)
        if by_epoch
        else dict(type='ResumableIterLoop', max_iters=ITERATIONS, val_interval=6)
    )
    if get_world_size() > 1:
        ddp = dict(type='MMDistributedDataParallel', device_ids=None)
        options |= dict(launcher='pytorch', cfg=dict(model_wrapper_cfg=ddp))
    best = dict(save_best='all/score', rule='greater', max_keep_ckpts=9)
    return Runner(
        model=Stateful(),
        work_dir=str(work_dir),
        train_dataloader=loader
        | dict(sampler=sampler or dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True)),
        val_dataloader=loader | dict(dataset=Drawn(9, still=True), sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=cfg,
        val_cfg=dict(),
        val_evaluator=Evaluator([Mean(prefix='all')]),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.05), accumulative_counts=accumulate),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
            *([dict(type='ReduceOnPlateauLR', monitor='all/score', rule='greater', patience=0)] if by_epoch else []),
        ],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=by_epoch, interval=1 if by_epoch else 5, **best),
            logger=dict(type='LoggerHook', interval=1),
        ),
        custom_hooks=[
            dict(type='EMAHook', momentum=0.1, update_buffers=True),
            dict(
                type='LossBalanceHook', tasks=dict(box='loss_box', mask='loss_mask'), strategy=dict(type='uncertainty')
            ),
            dict(type='EarlyStoppingHook', monitor='all/score', rule='greater', patience=9),
            *hooks,
        ],
        default_scope='mmuniqrnet',
        experiment_name=uuid.uuid4().hex,
        log_level='WARNING',
        resume=resume,
        **options,
    )


def same(one: object, other: object) -> bool:
    """Whether two nested states are equal to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


STATES = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', 'loss_balance', 'early_stopping')


def load_states(checkpoint: Path | str) -> dict:
    """All that the rest of a training depends on, of a checkpoint."""
    found = torch.load(checkpoint, weights_only=False)
    states = {name: found[name] for name in STATES}
    return states | dict(best=found['message_hub']['runtime_info']['best_score'], meta_iter=found['meta']['iter'])

"""Batches whose order and random numbers depend on their position in the training alone."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info
from torch.utils.data import BatchSampler, Sampler

from mmuniqrnet.registry import DATA_SAMPLERS
from mmuniqrnet.utils.errors import UserError

# What random numbers are for: the first of the integers that they are derived from.
STEP, SAMPLE, VALIDATION = 1, 2, 3


def set_seeds(*position: int, devices: bool = False) -> None:
    """Seed the global generators of python, numpy and torch from integers that are not negative.

    Args:
        position: The integers.
        devices: Whether torch's generators of all devices are seeded, or the CPU's only, which is faster.
    """
    for_python, for_numpy, for_torch = np.random.SeedSequence(position).generate_state(3, np.uint64).tolist()
    random.seed(for_python)
    np.random.seed(for_numpy % 2**32)
    if devices:
        torch.manual_seed(for_torch % 2**63)
    else:
        torch.default_generator.manual_seed(for_torch % 2**63)


@dataclass(frozen=True)
class SeededBatch:
    """The indices of a batch; before each one is read from it, the random generators are seeded for this sample.

    A data loader reads them one by one, in the process that loads the samples, and loads a sample before it reads the
    next index. The transforms of a sample therefore draw the same numbers whichever process loads it, and whether the
    samples before it were loaded or not.

    Attributes:
        indices: Indices of samples in the data set.
        seed: Of the run.
        epoch: How many times the sampler has been gone through before.
        first: Position in the epoch, over all ranks, of the batch's first sample.
        step: From one sample of the batch to the next; the number of ranks.
        drawn_as: For each sample, the place in the batch (0 to B - 1) of the one whose numbers it draws; None for its
            own.
    """

    indices: Sequence[int]
    seed: int
    epoch: int
    first: int
    step: int
    drawn_as: Sequence[int] | None = None

    def __iter__(self) -> Iterator[int]:
        for place, index in zip(self.drawn_as or range(len(self.indices)), self.indices):
            set_seeds(SAMPLE, self.seed, self.epoch, self.first + place * self.step)
            yield index

    def __len__(self) -> int:
        return len(self.indices)


class SeededBatchSampler(Sampler[SeededBatch]):
    """Batches of a sampler, from any position on; none of the samples before it is loaded.

    The positions of samples are those of mmengine's DefaultSampler and InfiniteSampler, where the ranks take turns: the
    same sample draws the same numbers on any number of ranks.

    Args:
        sampler: Gives the indices of this rank. If it has a method ``drawn_as(indices)`` (SameImageSampler), that says
            which samples of a batch draw the same numbers.
        batch_size: Samples of a batch.
        drop_last: Whether a last, smaller batch is left out.
        batch_sampler: Config of a batch sampler, to which sampler and batch size are given; None makes plain batches.
    """

    def __init__(
        self, sampler: Sampler[int], batch_size: int, drop_last: bool = False, batch_sampler: dict | None = None
    ) -> None:
        self.sampler, self.batch_size = sampler, batch_size
        self.batches: Iterable[Sequence[int]]
        self.plain = batch_sampler is None
        if batch_sampler is None:
            self.batches = BatchSampler(sampler, batch_size, drop_last)
        else:
            self.batches = DATA_SAMPLERS.build(batch_sampler, default_args=dict(sampler=sampler, batch_size=batch_size))
        self.rank, self.ranks = get_dist_info()
        self.seed = 0
        self.endless = False
        self.start_at(0, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Let the next iteration begin at a batch of an epoch, counted from 0.

        If ``endless`` is set, the epochs follow each other without an end, and ``batch`` may lie in a later epoch.
        """
        if self.endless and batch >= len(self) and not isinstance(self.sampler, InfiniteSampler):
            epoch, batch = epoch + batch // len(self), batch % len(self)
        self.epoch, self.batch = epoch, batch

    def __iter__(self) -> Iterator[SeededBatch]:
        if len(self) == 0 and not isinstance(self.sampler, InfiniteSampler):
            raise UserError(
                f'the training set has no whole batch of {self.batch_size} for each of {self.ranks} rank(s): choose a '
                'smaller train_dataloader.batch_size, or drop_last=False.'
            )
        epoch, first = self.epoch, self.batch
        while True:
            if isinstance(self.sampler, InfiniteSampler):
                self.sampler.indices = self.sampler._indices_of_rank()  # from the start, not where it was left
            if hasattr(self.sampler, 'set_epoch'):
                self.sampler.set_epoch(epoch)
            for number, indices in enumerate(self.batches):
                if number >= first:
                    position = number * self.batch_size * self.ranks + self.rank
                    drawn_as = self.sampler.drawn_as(indices) if hasattr(self.sampler, 'drawn_as') else None
                    yield SeededBatch(tuple(indices), self.seed, epoch, position, self.ranks, drawn_as)
            if not self.endless:
                return
            epoch, first = epoch + 1, 0

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

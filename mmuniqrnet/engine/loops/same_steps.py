"""Whether a training can resume the steps of another one, which may have run on another number of ranks."""

from dataclasses import asdict, dataclass
from typing import Any

from mmengine.dataset import DefaultSampler, InfiniteSampler

from mmuniqrnet.utils.errors import UserError

from .batches import SeededBatchSampler

# What samplers call the options that decide the order, without the seed, which a checkpoint restores.
ORDER = ('shuffle', 'round_up', 'group_size', 'one_view')


@dataclass(frozen=True)
class Steps:
    """What determines which samples an iteration has.

    Attributes:
        ranks: Number of processes.
        batch_size: Samples of an iteration on one rank.
        samples: Number of samples of the data set.
        sampler: Name of the sampler's class.
        in_turn: Whether the ranks take samples of the order in turn, so that an iteration has the same samples on any
            number of ranks.
        order: The options of the sampler that decide the order; None in checkpoints of older versions.
    """

    ranks: int
    batch_size: int
    samples: int
    sampler: str
    in_turn: bool
    order: str | None = None

    @classmethod
    def of(cls, batches: SeededBatchSampler, samples: int) -> 'Steps':
        """Those of a batch sampler."""
        kind = type(batches.sampler)
        return cls(
            ranks=batches.ranks,
            batch_size=batches.batch_size,
            samples=samples,
            sampler=kind.__name__,
            in_turn=kind in (DefaultSampler, InfiniteSampler) and batches.plain,
            order=', '.join(
                f'{name}={getattr(owner, name)}'
                for owner, name in (*((batches.sampler, name) for name in ORDER), (batches.batches, 'drop_last'))
                if isinstance(getattr(owner, name, None), bool | int)
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f'{self.ranks} rank(s) of batch {self.batch_size}'


def check_same_steps(saved: Steps, now: Steps, at_start_of_epoch: bool) -> str | None:
    """Check that a resumed training has the iterations of the one before.

    Returns:
        A sentence for the log if it does not equal the training before; None if it does.

    Raises:
        UserError: It can not go on from the same sample, or with the same schedule.
    """
    if saved.ranks * saved.batch_size != now.ranks * now.batch_size:
        total = saved.ranks * saved.batch_size
        fitting = (
            f'set train_dataloader.batch_size={total // now.ranks}'
            if total % now.ranks == 0
            else f'use a number of ranks that divides {total}'
        )
        raise UserError(
            f'the checkpoint to resume has iterations of {total} samples ({saved}), and this run of '
            f'{now.ranks * now.batch_size} ({now}), so the schedules of the two do not fit: {fitting}, or start a new '
            'training from its weights (load_from without --resume).'
        )
    reordered = None not in (saved.order, now.order) and saved.order != now.order
    if saved.sampler != now.sampler or saved.samples != now.samples or reordered:
        before, after = (f'{steps.sampler}({steps.order})' if reordered else steps.sampler for steps in (saved, now))
        if not at_start_of_epoch:
            raise UserError(
                f'the checkpoint to resume was saved inside an epoch of {saved.samples} samples in the order of '
                f'{before}, and this run has {now.samples} in that of {after}: keep them, or start a new '
                'training from its weights (load_from without --resume).'
            )
        return (
            f'The training set had {saved.samples} samples in the order of {before} before, and has '
            f'{now.samples} in that of {after} now: the training goes on with the next epoch, and differs from '
            'one that was not resumed.'
        )
    if saved.ranks == now.ranks:
        return None
    if not (now.in_turn or at_start_of_epoch):
        raise UserError(
            f'the checkpoint to resume was saved inside an epoch on {saved.ranks} rank(s), and {now.sampler} gives '
            f'each of {now.ranks} rank(s) other samples: resume on {saved.ranks} rank(s), or start a new training from '
            'its weights (load_from without --resume).'
        )
    same = 'has the same samples, drawn in the same way,' if now.in_turn else 'has as many samples'
    return (
        f'The checkpoint was saved by {saved}, and this run has {now}: each iteration {same} as before; dropout is '
        'drawn differently and sums are rounded differently, so the losses are close but not equal.'
    )

"""Two ranks stop together and go on exactly; on another number of ranks, it is said what differs."""

import re
from pathlib import Path

import pytest
import torch
from helpers.stoppable import Record, Signal, load_states, make_job, same
from helpers.two_ranks import run_two_ranks
from torch.multiprocessing.spawn import ProcessExitedException

from mmuniqrnet.datasets import SameImageSampler
from mmuniqrnet.engine import TrainingStopped
from mmuniqrnet.engine.loops import SeededBatchSampler
from mmuniqrnet.engine.loops.same_steps import Steps, check_same_steps
from mmuniqrnet.utils.errors import UserError

SEED = dict(seed=5, diff_rank_seed=True)
OPTIONS = dict(batch=2)
STOPS = dict(training=(8, False), validation=(12, True))


def train_on_rank(rank: int, folder: str) -> None:
    """The whole training, and for each place where rank 1 alone gets a signal, the two parts of it."""
    found = {}
    record = Record()
    make_job(f'{folder}/whole', 'epoch', record, randomness=SEED, **OPTIONS).train()
    found['whole'] = record
    for name, (iteration, in_validation) in STOPS.items():
        first, second = Record(), Record()
        stop = Signal(iteration, in_validation, rank=1)
        with pytest.raises(TrainingStopped):
            make_job(f'{folder}/{name}', 'epoch', first, stop, randomness=SEED, **OPTIONS).train()
        make_job(
            f'{folder}/{name}', 'epoch', second, resume=True, randomness=dict(seed=None, diff_rank_seed=True), **OPTIONS
        ).train()
        found[name] = first, second
    torch.save(found, f'{folder}/rank{rank}.pt')


@pytest.fixture(scope='module')
def of_two_ranks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('two_ranks')
    run_two_ranks(train_on_rank, folder)
    return folder


@pytest.mark.parametrize('place', STOPS)
def test_all_ranks_stop_when_one_gets_a_signal_and_go_on_exactly(of_two_ranks, place):
    for rank in (0, 1):
        found = torch.load(of_two_ranks / f'rank{rank}.pt', weights_only=False)
        expected, (first, second) = found['whole'], found[place]
        assert max(first.losses) + 1 == min(second.losses)
        assert first.samples | second.samples == expected.samples
        assert first.losses | second.losses == expected.losses
        assert first.metrics | second.metrics == expected.metrics
    whole, stopped = (load_states(of_two_ranks / name / 'epoch_3.pth') for name in ('whole', place))
    assert same(whole, stopped)


def test_one_rank_goes_on_with_the_samples_of_two(of_two_ranks, tmp_path, capsys):
    of_ranks = [torch.load(of_two_ranks / f'rank{rank}.pt', weights_only=False)['whole'] for rank in (0, 1)]
    record = Record()
    start = of_two_ranks / 'training' / 'epoch_1.pth'
    make_job(tmp_path, 'epoch', record, resume=True, load_from=str(start), batch=4).train()
    for iteration, samples in record.samples.items():
        both = [sample for record in of_ranks for sample in record.samples[iteration]]
        # 22 samples are 11 on each rank: the last batch of an epoch has one each
        assert sorted(number for number, _ in samples) == sorted(number for number, _ in both), iteration
        assert [drawn for _, drawn in sorted(samples)] == pytest.approx([drawn for _, drawn in sorted(both)])
    assert 'was saved by 2 rank(s) of batch 2, and this run has 1 rank(s) of batch 4' in capsys.readouterr().out


def test_iterations_of_another_size_are_refused(of_two_ranks, tmp_path):
    start = of_two_ranks / 'training' / 'epoch_1.pth'
    said = r'iterations of 4 samples \(2 rank\(s\) of batch 2\), and this run of 2 .*: set .*batch_size=4'
    with pytest.raises(UserError, match=said):
        make_job(tmp_path, 'epoch', resume=True, load_from=str(start), batch=2).train()


def die_on_rank(rank: int, folder: str) -> None:
    make_job(f'{folder}/killed', 'epoch', Signal(8, name='SIGKILL', rank=1), randomness=SEED, **OPTIONS).train()


def resume_on_rank(rank: int, folder: str) -> None:
    record = Record()
    make_job(f'{folder}/killed', 'epoch', record, resume=True, randomness=SEED | dict(seed=None), **OPTIONS).train()
    torch.save(record, f'{folder}/rank{rank}.pt')


@pytest.mark.slow
def test_two_ranks_go_on_exactly_after_one_was_killed(of_two_ranks, tmp_path):
    with pytest.raises(ProcessExitedException, match='SIGKILL'):
        run_two_ranks(die_on_rank, tmp_path)
    assert (tmp_path / 'killed' / 'last_checkpoint').read_text() == str(tmp_path / 'killed' / 'epoch_1.pth')
    (tmp_path / 'store').unlink()
    run_two_ranks(resume_on_rank, tmp_path)
    for rank in (0, 1):
        whole = torch.load(of_two_ranks / f'rank{rank}.pt', weights_only=False)['whole']
        resumed = torch.load(tmp_path / f'rank{rank}.pt', weights_only=False)
        assert resumed.losses == {number: loss for number, loss in whole.losses.items() if number >= 6}
        # The first validation was the best until then, so the checkpoint was saved again after it.
        assert resumed.metrics == {number: found for number, found in whole.metrics.items() if number > 6}
    assert same(load_states(of_two_ranks / 'whole' / 'epoch_3.pth'), load_states(tmp_path / 'killed' / 'epoch_3.pth'))


BEFORE = Steps(ranks=2, batch_size=8, samples=100, sampler='DefaultSampler', in_turn=True, order='shuffle=True')


@pytest.mark.parametrize(
    'changes, said',
    [
        (dict(ranks=3), 'of 16 samples .*, and this run of 24 .*: use a number of ranks that divides 16, or start'),
        (dict(samples=99), 'inside an epoch of 100 samples in the order of DefaultSampler, and this run has 99'),
        (
            dict(order='shuffle=False'),
            r'of DefaultSampler\(shuffle=True\), .* 100 in that of DefaultSampler\(shuffle=F',
        ),
        (dict(sampler='InfiniteSampler'), 'in the order of DefaultSampler, .* 100 in that of InfiniteSampler'),
        (dict(ranks=4, batch_size=4, in_turn=False), 'and DefaultSampler gives each of 4 .* resume on 2 rank'),
    ],
)
def test_what_can_not_go_on_inside_an_epoch_is_refused(changes, said):
    with pytest.raises(UserError, match=said):
        check_same_steps(BEFORE, Steps(**BEFORE.as_dict() | changes), at_start_of_epoch=False)


@pytest.mark.parametrize(
    'changes, said',
    [
        ({}, None),
        (dict(order=None), None),  # of an older version
        (dict(order='shuffle=False'), r'in that of DefaultSampler\(shuffle=False\) now: .* next epoch, and differs'),
        (dict(ranks=4, batch_size=4), 'has the same samples, drawn in the same way, as before; dropout is'),
        (dict(ranks=4, batch_size=4, in_turn=False), 'has as many samples as before; dropout is'),
        (dict(samples=99), 'had 100 samples .* goes on with the next epoch, and differs'),
    ],
)
def test_what_differs_from_the_next_epoch_on_is_said(changes, said):
    notice = check_same_steps(BEFORE, Steps(**BEFORE.as_dict() | changes), at_start_of_epoch=True)
    assert (notice is None) if said is None else re.search(said, notice)


class ImagesOfFour:
    """20 items, four of each image."""

    def __len__(self) -> int:
        return 20

    def get_data_info(self, index: int) -> dict:
        return dict(img_path=f'{index // 4}.jpg')


def test_the_options_of_the_order_are_remembered():
    images = ImagesOfFour()

    def steps(drop_last: bool = False, **options) -> Steps:
        return Steps.of(SeededBatchSampler(SameImageSampler(images, seed=0, **options), 4, drop_last), len(images))

    changes = (dict(group_size=2), dict(shuffle=False), dict(one_view=True), dict(drop_last=True))
    assert check_same_steps(steps(), steps(), at_start_of_epoch=False) is None
    for change in changes:
        with pytest.raises(UserError, match=rf'{next(iter(change))}={next(iter(change.values()))}'):
            check_same_steps(steps(), steps(**change), at_start_of_epoch=False)

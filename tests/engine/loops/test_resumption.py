"""A training that is stopped by a signal and resumed equals one that was never stopped, to the bit."""

import signal
from pathlib import Path

import pytest
import torch
from helpers.stoppable import EPOCHS, ITERATIONS, Record, Signal, load_states, make_job, same

from mmuniqrnet.engine import TrainingStopped
from mmuniqrnet.utils.errors import UserError

LAST = dict(epoch=f'epoch_{EPOCHS}.pth', iter=f'iter_{ITERATIONS}.pth')


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    """Runs ``make_job`` once for each set of options, without a stop: its folder and its record."""
    done: dict = {}

    def run(loop: str, **options) -> tuple[Path, Record]:
        key = (loop, str(options))
        if key not in done:
            folder, record = tmp_path_factory.mktemp('straight'), Record()
            make_job(folder, loop, record, randomness=dict(seed=5), **options).train()
            done[key] = folder, record
        return done[key]

    return run


def stop_and_resume(folder: Path, loop: str, stop: Signal, **options) -> tuple[Record, Record]:
    first, second = Record(), Record()
    with pytest.raises(TrainingStopped) as stopped:
        make_job(folder, loop, first, stop, randomness=dict(seed=5), **options).train()
    assert stopped.value.code == 75
    assert (folder / 'last_checkpoint').read_text() == str(folder / 'stopped.pth')
    make_job(folder, loop, second, resume=True, **options).train()
    return first, second


@pytest.mark.parametrize(
    'stop',
    [Signal(8), Signal(11), Signal(5, name='SIGTERM'), Signal(6, in_validation=True), Signal(18, in_validation=True)],
    ids=['inside an epoch', 'at its end', 'before the validation', 'in the validation', 'in the last validation'],
)
@pytest.mark.parametrize('loop', ['epoch', 'iter'])
def test_a_stopped_training_goes_on_exactly(straight, tmp_path, loop, stop):
    whole, expected = straight(loop)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    first, second = stop_and_resume(tmp_path, loop, stop)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == handlers
    # no iteration twice, none left out, the same samples, losses and metrics
    assert not first.losses.keys() & second.losses.keys()
    assert first.samples | second.samples == expected.samples
    assert first.losses | second.losses == expected.losses
    assert first.metrics | second.metrics == expected.metrics
    assert same(load_states(whole / LAST[loop]), load_states(tmp_path / LAST[loop]))


@pytest.mark.parametrize('loop', [pytest.param('epoch', marks=pytest.mark.slow), 'iter'])
def test_loading_processes_change_nothing(straight, tmp_path, loop):
    """Neither their number nor what they had read ahead."""
    whole, expected = straight(loop)
    first, second = stop_and_resume(tmp_path, loop, Signal(8), workers=2)
    assert first.samples | second.samples == expected.samples
    assert same(load_states(whole / LAST[loop]), load_states(tmp_path / LAST[loop]))


@pytest.mark.parametrize(
    'loop, checkpoint',
    [('epoch', 'epoch_2.pth'), ('iter', 'iter_15.pth'), ('iter', 'iter_12.pth')],
    ids=['before its validation', 'between the batches of a step', 'saved again after its validation'],
)
def test_a_training_that_was_killed_goes_on_exactly_from_any_checkpoint(straight, tmp_path, loop, checkpoint):
    whole, expected = straight(loop)
    record = Record()
    make_job(tmp_path, loop, record, resume=True, load_from=str(whole / checkpoint)).train()
    start = min(record.losses)
    assert start in (12, 15)
    assert record.losses == {number: loss for number, loss in expected.losses.items() if number >= start}
    validated = torch.load(whole / checkpoint, weights_only=False)['resumption']['validated']
    after = {number: found for number, found in expected.metrics.items() if number > start - (not validated)}
    assert record.metrics == after
    assert same(load_states(whole / LAST[loop]), load_states(tmp_path / LAST[loop]))


def test_early_stopping_counts_on(tmp_path):
    """After a validation that was not better, and one more: it stops then, resumed or not."""
    stop = dict(type='EarlyStoppingHook', monitor='all/score', rule='greater', patience=2, min_delta=1e9)
    whole, first, second = Record(), Record(), Record()
    make_job(tmp_path / 'whole', 'iter', whole, stop, randomness=dict(seed=5)).train()
    with pytest.raises(TrainingStopped):
        make_job(tmp_path / 'stopped', 'iter', first, Signal(13), stop, randomness=dict(seed=5)).train()
    make_job(tmp_path / 'stopped', 'iter', second, stop, resume=True).train()
    assert max(whole.losses) == max(second.losses)
    assert first.metrics | second.metrics == whole.metrics


def test_a_finite_sampler_goes_on_in_a_later_pass_over_the_data(straight, tmp_path):
    sampler = dict(type='DefaultSampler', shuffle=True)
    _, expected = straight('iter', sampler=sampler)
    first, second = stop_and_resume(tmp_path, 'iter', Signal(13), sampler=sampler)
    assert first.samples | second.samples == expected.samples
    each_pass = [
        sorted(number for i in range(start, start + 6) for number, _ in expected.samples[i]) for start in (0, 6)
    ]
    assert each_pass == [list(range(22))] * 2
    assert expected.samples[0] != expected.samples[6]


def test_no_batch_to_train_on_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match='no whole batch of 32'):
        runner = make_job(tmp_path, 'epoch', batch=32)
        runner._train_dataloader['drop_last'] = True
        runner.train()

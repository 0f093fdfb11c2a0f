"""A training that is stopped by a signal and resumed equals one that was never stopped, to the bit."""

import signal
from pathlib import Path

import pytest
import torch
from helpers.stoppable import EPOCHS, ITERATIONS, Record, Signal, load_states, make_job, same

from mmuniqrnet.engine import TrainingStopped

LAST = dict(epoch=f'epoch_{EPOCHS}.pth', iter=f'iter_{ITERATIONS}.pth')


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    """Runs ``make_job`` once for each set of options, without a stop: its folder and its record."""
    done: dict = {}

    def run(loop: str, **options) -> tuple[Path, Record]:
        key = (loop, str(options))
        if key not in done:
            folder, record = tmp_path_factory.mktemp('straight'), Record()
            torch.manual_seed(11)
            make_job(folder, loop, record, randomness=dict(seed=5), **options).train()
            done[key] = folder, record
        return done[key]

    return run


def stop_and_resume(folder: Path, loop: str, stop: Signal, **options) -> tuple[Record, Record]:
    first, second = Record(), Record()
    torch.manual_seed(11)
    with pytest.raises(TrainingStopped) as stopped:
        make_job(folder, loop, first, stop, randomness=dict(seed=5), **options).train()
    assert stopped.value.code == 75
    assert (folder / 'last_checkpoint').read_text() == str(folder / 'stopped.pth')
    torch.manual_seed(12)  # what is drawn before the resumed training must not matter
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

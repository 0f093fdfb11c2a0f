"""Signals of a scheduler in the training process and in its loading processes."""

import os
import signal
from itertools import islice

import pytest
from helpers.stoppable import Drawn
from torch.utils.data import DataLoader

from mmuniqrnet.engine.loops import StopSignals
from mmuniqrnet.utils.errors import UserError


def test_a_signal_is_noted_and_has_its_effect_again_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyError), StopSignals('SIGTERM') as signals:
        assert signals.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == 'SIGTERM'
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) == before


def test_loading_processes_survive_the_signals_until_the_training_ends():
    loader = DataLoader(Drawn(), batch_size=2, num_workers=2)
    signals = StopSignals(['SIGTERM', 'SIGUSR1'])
    signals.keep_from_workers(loader)
    with signals:
        batches = iter(loader)
        first = [next(batches), next(batches)]  # both have started
        workers = batches._workers
        for worker in workers:
            for number in (signal.SIGTERM, signal.SIGUSR1):
                os.kill(worker.pid, number)
        assert [batch['number'][0].item() for batch in [*first, *islice(batches, 6)]] == list(range(0, 16, 2))
        assert all(worker.is_alive() for worker in workers)
    os.kill(workers[0].pid, signal.SIGTERM)  # as torch and python do at the end
    workers[0].join(10)
    assert not workers[0].is_alive() and workers[1].is_alive()


@pytest.mark.parametrize('name', ['SIGNAL', 'USR1', 'SIGKILL'])
def test_what_is_no_signal_to_wait_for_is_refused(name):
    with pytest.raises(UserError, match=f'stop_signals=.*{name}.* the default is'):
        StopSignals([name])

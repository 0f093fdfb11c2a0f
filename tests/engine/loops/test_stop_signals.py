"""Signals of a scheduler in the training process and in its loading processes."""

import os
import signal
import subprocess
import time

import pytest
from helpers.stoppable import Drawn
from torch.utils.data import DataLoader

from mmuniqrnet.engine.loops import StopSignals
from mmuniqrnet.utils.errors import UserError


def signal_from_another_process(name: str, process: int) -> None:
    subprocess.run(['sh', '-c', f'kill -{name} {process}'], check=True)


def is_alive(process: int) -> bool:
    try:
        return 'Z' not in open(f'/proc/{process}/stat').read().rsplit(')', 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_a_signal_is_noted_and_has_its_effect_again_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyError), StopSignals(['SIGTERM']) as signals:
        assert signals.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == 'SIGTERM'
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) == before


def test_loading_processes_survive_a_scheduler_but_not_their_own_process():
    loader = DataLoader(Drawn(), batch_size=2, num_workers=2)
    StopSignals(['SIGTERM', 'SIGUSR1']).keep_from_workers(loader)
    batches = iter(loader)
    next(batches)
    workers = [worker.pid for worker in batches._workers]
    for worker in workers:
        for name in ('TERM', 'USR1'):
            signal_from_another_process(name, worker)
    assert len(list(batches)) == 10  # the rest of 11
    iterator = iter(loader)
    next(iterator)
    process = iterator._workers[0].pid
    os.kill(process, signal.SIGTERM)  # as torch does
    end = time.monotonic() + 10
    while is_alive(process) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_alive(process)


@pytest.mark.parametrize('name', ['SIGNAL', 'USR1', 'SIGKILL'])
def test_what_is_no_signal_to_wait_for_is_refused(name):
    with pytest.raises(UserError, match=f'stop_signals=.*{name}.* the default is'):
        StopSignals([name])

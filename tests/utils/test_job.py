"""How a process of a job ends. The module is loaded by its path, without the package, which takes seconds to import."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmuniqrnet.utils import job

PROGRAM = f"""
import atexit, importlib.util, os, signal, sys, time
spec = importlib.util.spec_from_file_location('job', {job.__file__!r})
job = importlib.util.module_from_spec(spec)
spec.loader.exec_module(job)
job.GRACE = 0.5

class Sentence(Exception):
    pass

def sentence_of(error):
    return str(error) if isinstance(error, Sentence) else None

atexit.register(print, 'closed')
print('begun')
try:
    BODY
except BaseException as error:
    job.end_in_job(error, sentence_of)
job.end_in_job(None, sentence_of)
"""


def run(body: str, rank: int = 0, **environment: str) -> subprocess.CompletedProcess:
    environment = dict(os.environ, RANK=str(rank), WORLD_SIZE='2', **environment)
    environment.pop('MMUNIQRNET_TRACE', None)
    return subprocess.run(
        [sys.executable, '-c', PROGRAM.replace('BODY', body)], capture_output=True, text=True, env=environment
    )


@pytest.mark.parametrize(
    'body, status',
    [('pass', 0), ('sys.exit()', 0), ('sys.exit(75)', 75), ('sys.exit("said")', 1), ('raise KeyboardInterrupt', 130)],
)
def test_the_exit_status(body, status):
    done = run(body)
    assert done.returncode == status and done.stdout == 'begun\nclosed\n'
    assert done.stderr == ('said\n' if 'said' in body else '')


@pytest.mark.parametrize('rank', [0, 1])
def test_a_sentence_is_told_to_the_user_and_to_torchrun(rank, tmp_path):
    file = tmp_path / 'error.json'
    begun = time.monotonic()
    done = run('raise Sentence("the data are missing.")', rank, TORCHELASTIC_ERROR_FILE=str(file))
    assert done.returncode == 1 and done.stdout == 'begun\nclosed\n'
    if rank == 0:
        assert done.stderr == 'error: the data are missing.\n'
    else:  # if rank 0 has the same error, this process is ended before it prints
        assert time.monotonic() - begun > job.PATIENCE
        assert done.stderr.startswith('error: rank 1 of 2 (') and done.stderr.endswith('): the data are missing.\n')
    told = json.loads(file.read_text())['message']
    assert told['extraInfo']['py_callstack'] == 'error: the data are missing.'
    assert abs(int(told['extraInfo']['timestamp']) - time.time()) < 60


def test_another_error_is_printed_with_its_rank_and_trace():
    done = run('{}["key"]', rank=1)
    assert done.returncode == 1
    first, *_, last = done.stderr.strip().splitlines()
    assert first.startswith('error on rank 1 of 2 (') and last == "KeyError: 'key'" and 'Traceback' in done.stderr


GONE = '[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:17830.'


def test_a_lost_connection_is_not_the_cause(tmp_path):
    file = tmp_path / 'error.json'
    done = run(f'raise RuntimeError({GONE!r})', TORCHELASTIC_ERROR_FILE=str(file))
    assert done.returncode == 1 and not file.exists()
    assert done.stderr.startswith('rank 0 of 2 (') and 'see the message of that one' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    'error, gone',
    [
        (RuntimeError(GONE), True),
        (RuntimeError('gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 6000ms for recv operation'), False),
        (ConnectionResetError(104, 'Connection reset by peer'), False),  # of a download
        (RuntimeError('CUDA out of memory'), False),
    ],
)
def test_which_errors_are_of_another_process(error, gone):
    assert job.ended_by_another(error) is gone


def test_an_exit_that_is_stuck_is_given_up():
    stuck = 'job.CLOSING = 1; atexit.register(time.sleep, 60); raise Sentence("no.")'
    begun = time.monotonic()
    assert run(stuck).returncode == 1 and time.monotonic() - begun < 30


def test_a_child_ends_with_its_parent(tmp_path):
    file = tmp_path / 'child'
    child = f'open({str(file)!r}, "w").write(str(os.getpid())), time.sleep(100)'
    body = f'job.end_workers_with_parent(); os.fork() or ({child}); time.sleep(1); os.kill(os.getpid(), 9)'
    assert run(body.replace('\n', '')).returncode == -signal.SIGKILL
    end = time.monotonic() + 20
    while is_running(file.read_text()) and time.monotonic() < end:
        time.sleep(0.2)
    assert not is_running(file.read_text())


def is_running(process: str) -> bool:
    """Whether there is such a process, other than one that waits for its parent to take note of its end."""
    try:
        return Path('/proc', process, 'stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def test_a_signal_prints_the_stacks_and_the_process_goes_on():
    done = run('job.print_stacks_on_signal(); os.kill(os.getpid(), signal.SIGUSR2); print("went on")')
    assert done.returncode == 0 and done.stdout == 'begun\nwent on\nclosed\n'
    assert '(most recent call first)' in done.stderr and 'in <module>' in done.stderr

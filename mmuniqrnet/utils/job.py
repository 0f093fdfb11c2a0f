"""How a tool that is one process of a distributed job reports an error, and how it ends."""

import atexit
import faulthandler
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

# Seconds that a process of rank 1 or higher waits before it prints: if rank 0 has failed of the same cause, the
# launcher ends this process in the meantime, and the message appears once.
PATIENCE = 2.0
# Seconds that a process waits which failed only because another one ended, so that the launcher sees that one first.
GRACE = 5.0
# Seconds for closing files and ending workers after an error; whatever still runs then is given up.
CLOSING = 15.0
# What gloo, NCCL and the store say when the other end is gone.
_OF_GROUP = re.compile(r'gloo|nccl|c10d|TCPStore|ProcessGroup', re.IGNORECASE)
_GONE = re.compile(
    r'connection (closed|reset) by peer|connection was likely closed|broken pipe|failed to (recv|send)|'
    r'remote process (exited|has been terminated)',
    re.IGNORECASE,
)


def in_job() -> bool:
    """Whether a launcher started this process as one of a job, as the environment says."""
    return 'RANK' in os.environ and 'WORLD_SIZE' in os.environ


def ended_by_another(error: BaseException) -> bool:
    """Whether an error of the process group says that the connection to another process of the job is gone."""
    text = str(error)
    return isinstance(error, RuntimeError) and bool(_OF_GROUP.search(text) and _GONE.search(text))


def print_stacks_on_signal() -> None:
    """Make ``kill -USR2 PID`` print the Python stack of every thread of this process; it goes on after that."""
    if hasattr(signal, 'SIGUSR2') and sys.__stderr__ is not None:
        faulthandler.register(signal.SIGUSR2, file=sys.__stderr__, all_threads=True)


def end_workers_with_parent() -> None:
    """Make every process that is forked from now on end when this one does.

    Workers of a data loader notice that this process was killed, but then wait for ever for a reader of the batches
    that they have sent.
    """
    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=_watch_parent)


def _watch_parent() -> None:
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PATIENCE)
        os._exit(1)

    threading.Thread(target=watch, name='watch parent', daemon=True).start()


def end_in_job(error: BaseException | None, sentence_of: Callable[[BaseException], str | None]) -> NoReturn:
    """End this process of a job, after success or because of an error.

    After success, and with a ``SystemExit``, all processes wait for each other and leave the process group. The exit
    status is 0, that of the ``SystemExit``, or 1. An error is printed with the rank and written where torchrun reads it
    for its own report; an error on all ranks is printed by rank 0 only.

    The interpreter is not taken apart: threads of gloo can outlive the process group and would abort the process then
    (pytorch/pytorch#179291). What is registered with ``atexit`` runs, and output is flushed.

    Args:
        error: What the tool raised; call this function where it is handled.
        sentence_of: Gives the sentence to print for an error; None if its trace is to be printed.
    """
    status = 0
    if error is None or isinstance(error, SystemExit):
        status = 0 if error is None else _status(error)
        try:
            _leave_group()
        except Exception as failed:
            status, error = 1, failed
            _report(failed, sentence_of)
    elif isinstance(error, KeyboardInterrupt):
        status = 130
    else:
        status = 1
        _report(error, sentence_of)
    if status == 1:  # what an error left running, such as a blocked worker, must not keep this process
        faulthandler.dump_traceback_later(CLOSING, exit=True, file=sys.__stderr__ or sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _status(ending: SystemExit) -> int:
    """The exit status; a text is printed, as Python does."""
    if ending.code is None or isinstance(ending.code, int):
        return ending.code or 0
    print(ending.code, file=sys.stderr)
    return 1


def _leave_group() -> None:
    """Wait for the other processes, so that none sees a closed connection, and leave the process group."""
    distributed = sys.modules.get('torch.distributed')
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def _report(error: BaseException, sentence_of: Callable[[BaseException], str | None]) -> None:
    rank = os.environ['RANK']
    who = f'rank {rank} of {os.environ["WORLD_SIZE"]} ({socket.gethostname()}, process {os.getpid()})'
    if ended_by_another(error):
        time.sleep(GRACE)
        said = 'stops, because the connection to another process of the job is gone; see the message of that one'
        print(f'{who} {said}: {str(error).splitlines()[0]}', file=sys.stderr, flush=True)
        return
    sentence = None if os.environ.get('MMUNIQRNET_TRACE') else sentence_of(error)
    _tell_torchrun(error, sentence)
    if rank != '0':
        time.sleep(PATIENCE)
    if sentence is not None:
        print(f'error: {"" if rank == "0" else f"{who}: "}{sentence}', file=sys.stderr, flush=True)
    else:
        print(f'error on {who}:\n{"".join(traceback.format_exception(error))}', file=sys.stderr, flush=True)


def _tell_torchrun(error: BaseException, sentence: str | None) -> None:
    """Write the error to the file that torchrun reads for its report; the time in it says which rank was first."""
    if 'TORCHELASTIC_ERROR_FILE' not in os.environ:
        return
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    if sentence is None:
        get_error_handler().record_exception(error)
    else:  # the same format, with the sentence in the place of the trace
        detail = dict(py_callstack=f'error: {sentence}', timestamp=str(int(time.time())))
        content = dict(message=dict(message=sentence, extraInfo=detail))
        Path(os.environ['TORCHELASTIC_ERROR_FILE']).write_text(json.dumps(content))

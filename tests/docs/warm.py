"""Commands in new processes that have torch and the stack imported already, since importing takes most of their time.

They are forked from multiprocessing's own server.
"""

import argparse
import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

OURS = ('apis', 'datasets', 'engine', 'evaluation', 'models', 'visualization')
SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(
    [
        'mmdet.apis',
        'mmengine.runner',
        'torch.utils.tensorboard',
        'transformers',
        *(f'mmuniqrnet.{name}' for name in OURS),
    ]
)
TIMEOUT = 300  # seconds; without it a command that waits for something would stop the tests


def run(folder: Path, function: Callable, *args) -> tuple[int | None, str]:
    """Call a function in a new process, in ``folder``: its exit status (None if killed), and what it printed."""
    child = SERVER.Process(target=_call, args=(folder, function, args))
    child.start()
    child.join(TIMEOUT)
    status = child.exitcode
    child.kill()
    return status, (folder / 'output.txt').read_text(errors='replace')


def _call(folder: Path, function: Callable, args: tuple) -> None:
    os.chdir(folder)
    output = os.open('output.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.exit(function(*args))


def command(words: list[str], parse_only: bool = False) -> int | None:
    """Become ``mmuniqrnet ...``, ``python FILE ...`` or ``python -m MODULE ...``, after variables of the environment.

    ``parse_only`` ends it as soon as argparse has accepted its arguments.
    """
    from yapf.yapflib import yapf_api

    # mmengine formats the config for every checkpoint, which takes more than half of so short a training.
    yapf_api.FormatCode = lambda text, **style: (text, True)
    if parse_only:
        parse = argparse.ArgumentParser.parse_args
        argparse.ArgumentParser.parse_args = lambda *args, **options: sys.exit(parse(*args, **options) is None)
    while '=' in words[0]:
        name, _, value = words.pop(0).partition('=')
        os.environ[name] = value
        sys.path[:0] = [value] if name == 'PYTHONPATH' else []
    if words[0] == 'mmuniqrnet':
        from mmuniqrnet.cli import main

        sys.argv = words
        return main()
    if words[1] == '-m':
        sys.argv = words[2:]
        runpy.run_module(words[2], run_name='__main__', alter_sys=True)
    else:
        sys.argv = words[1:]
        sys.path.insert(0, str(Path(words[1]).resolve().parent))
        runpy.run_path(words[1], run_name='__main__')
    return 0

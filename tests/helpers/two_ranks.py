"""Run a function of a test in two processes that are one job of ``torch.distributed``."""

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed
import torch.multiprocessing


def run_two_ranks(function: Callable[..., None], folder: Path, *args: Any) -> None:
    """Call ``function(rank, str(folder), *args)`` in two new processes with a process group of gloo.

    The processes load the function's file by its path: by the name ``tests.…`` they could find a package of that
    name that something else installed.
    """
    source = inspect.getsourcefile(function)
    torch.multiprocessing.spawn(_run, (source, function.__name__, str(folder), args), nprocs=2)


def _run(rank: int, source: str, name: str, folder: str, args: tuple[Any, ...]) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    spec = importlib.util.spec_from_file_location(Path(source).stem, source)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    getattr(module, name)(rank, folder, *args)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    # Threads of gloo can outlive the group and abort a process whose interpreter is already taken apart
    # (pytorch/pytorch#179291); all that is checked is on the disk by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

"""What mmengine and mmdet can't do by themselves: read checkpoints with clear errors, be silent when imported.

Checkpoints are their own ones under torch >= 2.6, safetensors, and files that are something else.

Since 2.6 ``torch.load`` reads data only (``weights_only=True``) and refuses classes it does not know. mmengine 0.10.7
calls it plainly (``mmengine.runner.checkpoint.load_from_local``), and its checkpoints hold log histories and numpy
values: ``resume``, ``load_from`` and ``tools/test.py`` then fail on files that mmengine itself wrote. The remedy is to
name what such a file needs as safe. Newer forks of mmengine name the same things by themselves, ``getattr`` included,
with which a file can reach anything; here it reaches nothing but the four statistics of ``HistoryBuffer``.
"""

import functools
import logging
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import mmengine.fileio.file_client
import mmengine.logging
import numpy as np
import torch
from mmengine import dist
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.utils import digit_version
from safetensors import safe_open

from .checkpoint_kinds import require_checkpoint_file
from .errors import CheckpointError, first_line

_STATISTICS = ('min', 'max', 'current', 'mean')


def _statistic(owner: type, name: str) -> Callable:
    """What a pickled ``HistoryBuffer`` calls ``getattr`` for."""
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise ValueError(f'a checkpoint may not reach for {name!r} of {owner!r}.')
    return getattr(owner, name)


def mmengine_globals() -> list[type | tuple[Callable, str]]:
    """The classes and functions that checkpoints written by mmengine name, each harmless to a reader."""
    core = np._core if hasattr(np, '_core') else np.core
    known = [HistoryBuffer, (_statistic, 'builtins.getattr'), np.ndarray, np.dtype]
    # numpy 2 renamed the module, and each reads the files of the other.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        known.append((core.multiarray._reconstruct, f'{module}._reconstruct'))
        known.append((core.multiarray.scalar, f'{module}.scalar'))
    kinds = [type(np.dtype(code)) for code in '?bhilqBHILQefdSU']
    return known + sorted({kind for kind in kinds if kind is not np.dtype}, key=lambda kind: kind.__name__)


def allow_mmengine_checkpoints() -> None:
    """Call once, at import: afterwards ``torch.load`` reads what mmengine wrote. Older torch needs nothing."""
    if digit_version(torch.__version__) >= digit_version('2.6.0'):
        torch.serialization.add_safe_globals(mmengine_globals())


def read_safetensors(path: Path) -> dict[str, Any]:
    """``state_dict`` and ``meta``, as mmengine has them; ``meta`` holds the file's own metadata (str).

    Its config, if it has one, is also under ``cfg``, where mmengine looks for it.

    Raises:
        CheckpointError: There is no such file, or it is damaged.
    """
    require_checkpoint_file(path)
    try:
        with safe_open(path, framework='pt') as file:
            meta = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict, and cannot be iterated over)
    except Exception as error:
        raise CheckpointError(f'{path} is not a safetensors file, or is damaged: {first_line(error)}') from None
    if 'config' in meta:
        meta['cfg'] = meta['config']  # the name by which mmengine asks for it
    return dict(meta=meta, state_dict=state)


# Local paths only: mmengine fetches addresses by their scheme.
@CheckpointLoader.register_scheme(prefixes=r'(?!\S+://).*\.safetensors$', force=True)
def load_from_safetensors(filename: str, map_location: Any = None) -> dict[str, Any]:
    """mmengine's way to ``.safetensors``, for ``load_from``, ``tools/test.py`` and ``init_detector`` alike.

    The tensors come on the CPU, whatever ``map_location`` says; the model copies them to where it is.
    """
    return read_safetensors(Path(filename).expanduser())


# The functions that mmengine has for these schemes; kept once, because the ones below replace them.
_load_local = mmengine_checkpoint.load_from_local
_load_http = mmengine_checkpoint.load_from_http


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """mmengine's way to local files, with errors that say what the file is.

    Raises:
        CheckpointError: There is no such file, or it is not a checkpoint that torch can read.
    """
    require_checkpoint_file(Path(filename).expanduser())
    try:
        return _load_local(filename, map_location)
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        raise CheckpointError(
            f'{filename} is damaged, or not a checkpoint that torch can read: {type(error).__name__}, '
            f'{first_line(error)}'
        ) from error


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(filename: str, map_location: Any = None, **options: Any) -> dict[str, Any]:
    """mmengine's way to addresses, also for ``.safetensors``; the file is kept in torch's cache.

    Raises:
        CheckpointError: The address does not answer, or what it gave is not a checkpoint.
    """
    cached = Path(torch.hub.get_dir(), 'checkpoints', PurePosixPath(urlparse(filename).path).name)
    try:
        if cached.suffix == '.safetensors':
            return _download_safetensors(filename, cached)
        return _load_http(filename, map_location, **options)
    except (URLError, ConnectionError, TimeoutError) as error:
        raise CheckpointError(
            f'{filename} was not downloaded ({first_line(error)}): check address and connection, or give a file.'
        ) from None
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        where = f'; remove {cached}, where it is kept, before you try again' if cached.is_file() else ''
        raise CheckpointError(f'what {filename} gave is not a checkpoint: {first_line(error)}{where}') from error


def _download_safetensors(address: str, target: Path) -> dict[str, Any]:
    if dist.get_rank() == 0 and not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(target))
    dist.barrier()
    return read_safetensors(target)


def silence_dependencies() -> None:
    """Call once, at import: drop what other packages print at each start and a user can do nothing about.

    - mmdet's "Could not import OneDL": a debug message, which mmengine prints because it has no logger.
    - mmengine's "FileClient will be deprecated" and "HardDiskBackend is the alias", of its own CheckpointHook. Whoever
      sets ``file_client_args`` is told by another message, which stays.
    - mmdet's note that its optional faster_coco_eval is missing, and pycocotools' NumPy 2 deprecation.
    """
    mmengine.logging.print_log = _without(mmengine.logging.print_log, _is_debug_print)
    mmengine.fileio.file_client.print_log = _without(mmengine.fileio.file_client.print_log, _is_about_file_client)
    warnings.filterwarnings('ignore', 'faster_coco_eval is not installed', UserWarning)
    warnings.filterwarnings('ignore', '__array__ implementation doesn.t accept a copy keyword', DeprecationWarning)


def _without(print_log: Callable[..., None], is_noise: Callable[..., bool]) -> Callable[..., None]:
    @functools.wraps(print_log)
    def filtered(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
        if not is_noise(msg, logger, level):
            print_log(msg, logger, level)

    return filtered


def _is_debug_print(msg: Any, logger: Any, level: int) -> bool:
    return logger is None and level < logging.INFO


def _is_about_file_client(msg: Any, logger: Any, level: int) -> bool:
    return str(msg).startswith(('"FileClient" will be deprecated', '"HardDiskBackend" is the alias'))

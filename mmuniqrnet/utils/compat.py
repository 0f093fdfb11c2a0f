"""Changes to mmengine and mmdet at run time: reading checkpoints, base configs of mmseg, clear errors, no messages.

They concern mmengine's own checkpoints under torch >= 2.6, safetensors files, and files that are not checkpoints.

Since 2.6 ``torch.load`` reads data only (``weights_only=True``) and refuses classes it does not know. mmengine 0.10.7
calls it without this option (``mmengine.runner.checkpoint.load_from_local``), and its checkpoints contain log histories
and numpy values: ``resume``, ``load_from`` and ``tools/test.py`` then fail on files that mmengine itself wrote. The fix
is to register the classes that such a file needs as safe. Newer forks of mmengine do this themselves, but they include
``getattr``, with which a file can access anything; here it can access only four statistics of ``HistoryBuffer``.
"""

import functools
import logging
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import mmengine.fileio.file_client
import mmengine.logging
import numpy as np
import torch
from mmengine import dist
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.utils import digit_version
from safetensors import safe_open

from .checkpoint_kinds import require_checkpoint_file
from .errors import CheckpointError, first_line
from .hub import PREFIX, hub_checkpoint

_STATISTICS = ('min', 'max', 'current', 'mean')


def _statistic(owner: type, name: str) -> Callable:
    """Replacement for ``getattr`` that a pickled ``HistoryBuffer`` calls, limited to its statistics."""
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise ValueError(f'a checkpoint may not access {name!r} of {owner!r}.')
    return getattr(owner, name)


def mmengine_globals() -> list[type | tuple[Callable, str]]:
    """The classes and functions that mmengine's checkpoints refer to; all of them are safe to load."""
    core = np._core if hasattr(np, '_core') else np.core
    known = [HistoryBuffer, (_statistic, 'builtins.getattr'), np.ndarray, np.dtype]
    # numpy 2 renamed the module, and each version should read files written with the other.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        known.append((core.multiarray._reconstruct, f'{module}._reconstruct'))
        known.append((core.multiarray.scalar, f'{module}.scalar'))
    kinds = [type(np.dtype(code)) for code in '?bhilqBHILQefdSU']
    return known + sorted({kind for kind in kinds if kind is not np.dtype}, key=lambda kind: kind.__name__)


def allow_mmengine_checkpoints() -> None:
    """Call once, at import: afterwards ``torch.load`` reads mmengine's checkpoints. Older torch does not need it."""
    if digit_version(torch.__version__) >= digit_version('2.6.0'):
        torch.serialization.add_safe_globals(mmengine_globals())


def read_safetensors(path: Path) -> dict[str, Any]:
    """``state_dict`` and ``meta``, as in mmengine's checkpoints; ``meta`` contains the file's metadata (str).

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
        meta['cfg'] = meta['config']  # the key that mmengine reads
    return dict(meta=meta, state_dict=state)


# Local paths only: mmengine downloads URLs according to their scheme.
@CheckpointLoader.register_scheme(prefixes=r'(?!\S+://).*\.safetensors$', force=True)
def load_from_safetensors(filename: str, map_location: Any = None) -> dict[str, Any]:
    """mmengine's loader for ``.safetensors``; ``load_from``, ``tools/test.py`` and ``init_detector`` use it.

    The tensors are on the CPU, whatever ``map_location`` is; the model copies them to its own device.
    """
    return read_safetensors(Path(filename).expanduser())


@CheckpointLoader.register_scheme(prefixes=PREFIX, force=True)
def load_from_hub(filename: str, map_location: Any = None) -> dict[str, Any]:
    """mmengine's loader for the Hugging Face hub, ``hf://ORG/NAME``; see :func:`.hub.hub_checkpoint`."""
    return read_safetensors(hub_checkpoint(filename))


# mmengine's original functions for these schemes, saved here because the functions below replace them.
_load_local = mmengine_checkpoint.load_from_local
_load_http = mmengine_checkpoint.load_from_http


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """mmengine's loader for local files, with errors that say what the file is.

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
    """mmengine's loader for URLs, also for ``.safetensors``; torch's cache keeps the file.

    Raises:
        CheckpointError: The server does not answer, or the downloaded file is not a checkpoint.
    """
    cached = Path(torch.hub.get_dir(), 'checkpoints', PurePosixPath(urlparse(filename).path).name)
    try:
        if cached.suffix == '.safetensors':
            return _download_safetensors(filename, cached)
        return _load_http(filename, map_location, **options)
    except (URLError, ConnectionError, TimeoutError) as error:
        raise CheckpointError(
            f'{filename} was not downloaded ({first_line(error)}): check the URL and the connection, or give a file.'
        ) from None
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        where = f'; remove the cached file {cached} before you try again' if cached.is_file() else ''
        raise CheckpointError(
            f'the file downloaded from {filename} is not a checkpoint: {first_line(error)}{where}'
        ) from error


def _download_safetensors(address: str, target: Path) -> dict[str, Any]:
    if dist.get_rank() == 0 and not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(target))
    dist.barrier()
    return read_safetensors(target)


def find_mmseg_configs() -> None:
    """Call once, at import: ``_base_ = 'mmseg::...'`` also finds the configs of onedl-mmsegmentation.

    mmengine looks for a distribution called mmsegmentation. Where there is none, its ``get_config`` would install one
    with pip, over the fork's files.
    """
    installed = {name for name in ('mmsegmentation', 'onedl-mmsegmentation') if _has_distribution(name)}
    if installed == {'onedl-mmsegmentation'}:
        MODULE2PACKAGE['mmseg'] = 'onedl-mmsegmentation'


def _has_distribution(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def silence_dependencies() -> None:
    """Call once, at import: suppress messages of other packages that appear at each start and that users cannot avoid.

    - mmdet's "Could not import OneDL": a debug message, which mmengine prints because it has no logger.
    - mmengine's "FileClient will be deprecated" and "HardDiskBackend is the alias", of its own CheckpointHook. A user
      who sets ``file_client_args`` still gets another message.
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

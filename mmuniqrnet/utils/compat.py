"""Checkpoints that mmengine can't read by itself: its own under torch >= 2.6, and safetensors.

Since 2.6 ``torch.load`` reads data only (``weights_only=True``) and refuses classes it does not know. mmengine 0.10.7
calls it plainly (``mmengine.runner.checkpoint.load_from_local``), and its checkpoints hold log histories and numpy
values: ``resume``, ``load_from`` and ``tools/test.py`` then fail on files that mmengine itself wrote. The remedy is to
name what such a file needs as safe. Newer forks of mmengine name the same things by themselves, ``getattr`` included,
with which a file can reach anything; here it reaches nothing but the four statistics of ``HistoryBuffer``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.utils import digit_version
from safetensors import safe_open

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
    if not path.is_file():
        raise CheckpointError(f'there is no checkpoint {path}.')
    try:
        with safe_open(path, framework='pt') as file:
            meta = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict, and cannot be iterated over)
    except Exception as error:
        raise CheckpointError(f'{path} is no safetensors file, or is damaged: {first_line(error)}') from None
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

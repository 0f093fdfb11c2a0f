"""Read and write checkpoint files without executing code that they may contain."""

import argparse
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.utils import digit_version
from safetensors.torch import save
from torch import Tensor

from mmuniqrnet.utils.checkpoint_kinds import require_checkpoint_file
from mmuniqrnet.utils.compat import allow_mmengine_checkpoints, read_safetensors
from mmuniqrnet.utils.errors import CheckpointError, first_line
from mmuniqrnet.utils.io import atomic_path


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file: ``.safetensors``, or one written by ``torch.save``.

    A ``.safetensors`` file gives ``state_dict`` and ``meta``, as mmengine's checkpoints have them. ``meta`` is the
    file's metadata (str); if it contains a config, this is also under ``cfg``. Files of ``torch.save`` are read as
    data: besides tensors and plain containers they may contain an ``argparse.Namespace`` (as published QRNet files do)
    and what mmengine writes. Addresses with a scheme (``https://``, ``torchvision://``) are read by mmengine's
    ``CheckpointLoader``.

    Raises:
        CheckpointError: If there is no such file, if it is damaged, or if reading it would execute code.
    """
    if '://' in str(path):
        return CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    path = Path(path).expanduser()
    require_checkpoint_file(path)
    if path.suffix == '.safetensors':
        return read_safetensors(path)
    try:
        with _safe_globals():
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        names = _refused(path, error)
        if names:
            raise CheckpointError(
                f'{path} was not read: it refers to {", ".join(names)}, and loading that could run code; '
                'if you trust the file, save its state dict alone.'
            ) from None
        raise CheckpointError(
            f'{path} is damaged, or not a checkpoint that torch can read: {type(error).__name__}, '
            # What torch writes after that is advice to switch off its check of the file.
            f'{first_line(error).partition(". ")[0]}'
        ) from None
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path} contains a {type(checkpoint).__name__}; a checkpoint is a dict.')
    return checkpoint


def _safe_globals() -> AbstractContextManager:
    # Older torch has no such list and refuses files that contain more than tensors.
    if digit_version(torch.__version__) < digit_version('2.6.0'):
        return nullcontext()
    # Leaving the context removes every class named in it from the list, so mmengine's classes are not named in it.
    allow_mmengine_checkpoints()
    return torch.serialization.safe_globals([argparse.Namespace])


def _refused(path: Path, error: Exception) -> list[str]:
    """The classes and functions because of which torch refused a file; empty if that was not the reason."""
    names = set(re.findall(r'GLOBAL ([\w.]+)', str(error)))
    if names and hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'):
        with suppress(Exception), _safe_globals():  # raises for files of the old format, which are not archives
            names |= set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    return sorted(names)


def state_dict_of(checkpoint: Mapping[str, Any], origin: str | Path = 'the checkpoint') -> dict[str, Tensor]:
    """The weights in a checkpoint: under ``state_dict``, under ``model``, or the checkpoint itself.

    The prefix ``module.`` of data-parallel training is removed.

    Raises:
        CheckpointError: If there are no weights.
    """
    state = checkpoint
    for key in ('state_dict', 'model'):
        if isinstance(checkpoint.get(key), Mapping):
            state = checkpoint[key]
            break
    state = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if not state:
        found = ', '.join(map(repr, list(checkpoint)[:8])) or 'nothing'
        raise CheckpointError(
            f"{origin} contains no weights: they should be under 'state_dict', under 'model', or the "
            f"file's only content; it has {found}."
        )
    if all(key.startswith('module.') for key in state):
        state = {key[len('module.') :]: value for key, value in state.items()}
    return state


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint completely or not at all: as safetensors if the name ends so, else with torch.save.

    Raises:
        CheckpointError: If a ``.safetensors`` is asked for, and there is more than ``state_dict`` (tensors) and
            ``meta`` (strings).
    """
    with atomic_path(path) as part:
        if path.suffix == '.safetensors':
            _write_safetensors(checkpoint, part, path)
        else:
            torch.save(dict(checkpoint), part)


def _write_safetensors(checkpoint: Mapping[str, Any], part: Path, path: Path) -> None:
    more = sorted(key for key in set(checkpoint) - {'state_dict', 'meta'} if checkpoint[key])
    if more:
        raise CheckpointError(
            f'{path} cannot be safetensors, which contain the weights of one network and strings; this '
            f'checkpoint also has {", ".join(map(repr, more))}: give a name that ends in .pth.'
        )
    # Copies, because safetensors refuses tensors that share memory.
    state = {name: value.detach().cpu().clone().contiguous() for name, value in checkpoint['state_dict'].items()}
    # save_file would create a file that other users cannot read.
    part.write_bytes(save(state, metadata={key: str(value) for key, value in checkpoint.get('meta', {}).items()}))

"""Read and write checkpoint files without running what they hold."""

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

from mmuniqrnet.utils.compat import allow_mmengine_checkpoints, read_safetensors
from mmuniqrnet.utils.errors import CheckpointError, first_line
from mmuniqrnet.utils.io import atomic_path


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Whatever a checkpoint file holds: ``.safetensors``, or what torch.save wrote.

    Of a ``.safetensors`` come ``state_dict`` and ``meta``, as mmengine has them: the file's own words (str), with its
    config under ``cfg`` if it carries one. Files of torch.save are read as data. Beyond tensors and plain containers
    they may hold an ``argparse.Namespace`` (published QRNet files do) and what mmengine writes. Addresses with a
    scheme (``https://``, ``torchvision://``) go through mmengine's ``CheckpointLoader``.

    Raises:
        CheckpointError: If there is no such file, if it is damaged, or if reading it would run code.
    """
    if '://' in str(path):
        return CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f'there is no checkpoint {path}.')
    if path.suffix == '.safetensors':
        return read_safetensors(path)
    try:
        with _safe_globals():
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        names = _refused(path, error)
        if names:
            raise CheckpointError(
                f'{path} was not read, for it names {", ".join(names)}, and reading that could run '
                'code; where you trust the file, save its state dict alone.'
            ) from None
        raise CheckpointError(
            f'{path} is no checkpoint that torch can read, or is damaged: {first_line(error)}'
        ) from None
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path} holds a {type(checkpoint).__name__}; a checkpoint is a dict.')
    return checkpoint


def _safe_globals() -> AbstractContextManager:
    # Older torch has no such list; there, files with more than tensors are refused.
    if digit_version(torch.__version__) < digit_version('2.6.0'):
        return nullcontext()
    # Leaving the context forgets whatever it names, so what is to stay allowed must not be named here.
    allow_mmengine_checkpoints()
    return torch.serialization.safe_globals([argparse.Namespace])


def _refused(path: Path, error: Exception) -> list[str]:
    """The globals for which torch did not read a file; none if that was not the reason."""
    names = set(re.findall(r'GLOBAL ([\w.]+)', str(error)))
    if names and hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'):
        with suppress(Exception), _safe_globals():  # old files that are no archives can't be asked
            names |= set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    return sorted(names)


def state_dict_of(checkpoint: Mapping[str, Any], origin: str | Path = 'the checkpoint') -> dict[str, Tensor]:
    """The weights in a checkpoint: under ``state_dict``, under ``model``, or the checkpoint itself.

    The prefix ``module.`` of data-parallel training is taken off.

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
            f"{origin} holds no weights: they should be under 'state_dict', under 'model', or the "
            f"file's only content; it has {found}."
        )
    if all(key.startswith('module.') for key in state):
        state = {key[len('module.') :]: value for key, value in state.items()}
    return state


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write it whole or not at all: as safetensors if the name says so, else with torch.save.

    Raises:
        CheckpointError: If it is to be safetensors, but holds more than ``state_dict`` (tensors) and ``meta`` (words).
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
            f"{path} can't be safetensors, which hold the weights of one network and words; this "
            f'checkpoint has {", ".join(map(repr, more))}, too: give a name that ends in .pth.'
        )
    # copies: safetensors refuses tensors that share their memory
    state = {name: value.detach().cpu().clone().contiguous() for name, value in checkpoint['state_dict'].items()}
    # save_file would leave a file that nobody else may read
    part.write_bytes(save(state, metadata={key: str(value) for key, value in checkpoint.get('meta', {}).items()}))

"""The folder of an export: whole or not at all, over nothing else's files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmuniqrnet.utils.errors import OverwriteError, UserError
from mmuniqrnet.utils.io import temporary_folder_beside

# All that an export may consist of; the weights of a network beyond 1.8 GiB are beside it, in model.onnx.data.
CONTENTS = ('model.onnx', 'model.onnx.data', 'model.pt2', 'tokenizer.json', 'preprocess.json', 'predictor.py')


def require_room(folder: str | Path, overwrite: bool = False) -> Path:
    """The folder to export to, when nothing is lost by it.

    Raises:
        UserError: If it is a file, its parent is missing, it holds other files, or it holds an export and
            ``overwrite`` is False.
    """
    folder = Path(os.path.abspath(Path(folder).expanduser()))
    if not folder.parent.is_dir():
        raise UserError(f'{folder} cannot be written: there is no folder {folder.parent}.')
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise UserError(f'{folder} is a file; give a folder to export to.')
    found = sorted(path.name for path in folder.iterdir() if path.name != '__pycache__')
    others = [name for name in found if name not in CONTENTS]
    if others:
        raise UserError(
            f'{folder} holds {others[0]}, which is no part of an export, and is left as it is; give a new folder.'
        )
    if found and not overwrite:
        raise OverwriteError(f'{folder} holds an export already; give another folder, or --overwrite.')
    return folder


@contextmanager
def new_export(folder: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write to, which takes its place when all went well and vanishes when not.

    Raises:
        UserError: As :func:`require_room`.
    """
    folder = require_room(folder, overwrite)
    with temporary_folder_beside(folder) as new:
        yield new
        require_room(folder, overwrite)  # minutes have passed
        folder.mkdir(exist_ok=True)
        for name in CONTENTS:
            if (new / name).exists():
                (new / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)

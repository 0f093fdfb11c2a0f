"""The folder of an export: it is written completely or not at all, and other files are never replaced."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmuniqrnet.utils.errors import OverwriteError, UserError
from mmuniqrnet.utils.io import temporary_folder_beside

# All files that an export may contain; weights of more than 1.8 GiB are in model.onnx.data, next to model.onnx.
CONTENTS = ('model.onnx', 'model.onnx.data', 'model.pt2', 'tokenizer.json', 'preprocess.json', 'predictor.py')


def check_export_folder(folder: str | Path, overwrite: bool = False) -> Path:
    """Check that an export to this folder loses no files, and return its absolute path.

    Raises:
        UserError: If it is a file, its parent is missing, it contains other files, or it contains an export and
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
            f'{folder} contains {others[0]}, which is not part of an export, so nothing was written; give a new folder.'
        )
    if found and not overwrite:
        raise OverwriteError(f'{folder} already contains an export; give another folder, or --overwrite.')
    return folder


@contextmanager
def new_export(folder: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder to write to; its files are moved to ``folder`` if the block raises nothing, else removed.

    Raises:
        UserError: As :func:`check_export_folder`.
    """
    folder = check_export_folder(folder, overwrite)
    with temporary_folder_beside(folder) as new:
        yield new
        check_export_folder(folder, overwrite)  # again: an export takes minutes, and files may have been added
        folder.mkdir(exist_ok=True)
        for name in CONTENTS:
            if (new / name).exists():
                (new / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)

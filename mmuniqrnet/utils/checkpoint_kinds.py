"""Errors for files that are not checkpoints, such as a web page or a Git LFS pointer, in one sentence each."""

import zipfile
from pathlib import Path

from .errors import CheckpointError

_LFS_POINTER = b'version https://git-lfs.github.com/spec/'
_ZIP = b'PK\x03\x04'  # torch >= 1.6 writes zip archives


def require_checkpoint_file(path: Path) -> None:
    """Check that a file exists and is not something else under a checkpoint's name.

    Raises:
        CheckpointError: The file is missing, empty, a folder, a Git LFS pointer, a web page, or a cut off archive.
    """
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder: give the checkpoint file in it.')
    if not path.is_file():
        raise CheckpointError(f'there is no checkpoint {path}.')
    with path.open('rb') as file:
        start = file.read(512)
    if not start:
        raise CheckpointError(f'{path} is empty: it was not written or downloaded completely; get it again.')
    if start.startswith(_LFS_POINTER):
        raise CheckpointError(
            f'{path} is a Git LFS pointer, a text of a few lines in place of the weights: run `git lfs pull` in its '
            'repository, or download the file itself.'
        )
    if start.lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'<'):
        raise CheckpointError(f'{path} is a web page saved under this name: download the file itself.')
    if start.startswith(_ZIP) and not zipfile.is_zipfile(path):
        raise CheckpointError(f'{path} is cut off, its end is missing: copy or download it again.')

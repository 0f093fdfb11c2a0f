"""Files and folders: no accidental overwriting, no incomplete files, and file names that work on all systems."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OverwriteError, UserError


def refuse_overwriting(
    path: str | Path,
    overwrite: bool = False,
    *,
    option: str | None = '--overwrite',
    reads: Iterable[str | Path | None] = (),
) -> Path:
    """The path to write to, after a check that no existing file is lost.

    Args:
        path: The file to write; ``~`` is expanded.
        overwrite: Whether an existing file may be replaced.
        option: The command-line option that sets ``overwrite``, for the message; None if there is none.
        reads: Files that the result is made of, which are never replaced; None stands for no file.

    Raises:
        OverwriteError: The file exists and ``overwrite`` is False, it is one of ``reads``, or it is no file.
        UserError: The folder of the file does not exist, or can not be written to.
    """
    if not str(path) or '\0' in str(path):
        raise UserError(f'{str(path)!r} is no name of a file to write.')
    path = Path(path).expanduser()
    try:
        exists = path.exists()
    except OSError as error:  # such as a name that is too long
        raise UserError(f'{path} can not be written ({error.strerror}).') from None
    if exists and not path.is_file():
        raise OverwriteError(f'{path} is {"a folder" if path.is_dir() else "a device"}: name a file to write.')
    for source in reads:
        if source is not None and exists and Path(source).expanduser().exists() and path.samefile(source):
            raise OverwriteError(f'{path} is also read, and would be lost: give another name.')
    if exists and not overwrite:
        raise OverwriteError(f'{path} exists already: give another name{f", or {option}" if option else ""}.')
    if not path.parent.is_dir():
        raise UserError(f'{path} can not be written: there is no folder {path.parent}.')
    if not os.access(path.parent, os.W_OK):
        raise UserError(f'{path} can not be written: nothing may be written into {path.parent}.')
    return path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder; what is written there replaces ``path`` at the end of the block.

    If the block raises, ``path`` stays as it was and the temporary file is removed.

    Raises:
        UserError: Nothing can be written there, or the disk is full.
    """
    path = Path(path)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        part.touch()
    except OSError as error:
        raise UserError(f'{path} can not be written ({error.strerror}).') from None
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f'{path} can not be written ({error.strerror}).') from None
        raise
    finally:
        part.unlink(missing_ok=True)


def make_folder(folder: Path) -> Path:
    """A folder, which is made with its parents if it is missing.

    Raises:
        UserError: It can not be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'the folder {folder} can not be made ({error.strerror}).') from None
    return folder


@contextmanager
def temporary_folder_beside(folder: Path) -> Iterator[Path]:
    """A temporary folder on the same file system as ``folder``, removed at the end with all that is still in it.

    Missing parents of ``folder`` are created.

    Raises:
        UserError: Nothing can be written there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f'.{folder.name}.', dir=folder.parent))
    except OSError as error:
        raise UserError(f'{folder} cannot be written ({error.strerror}): choose another folder.') from None
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def safe_name(text: str, max_bytes: int) -> str:
    """``text`` as part of a file name: letters and digits of any script, ``+ - . _``; anything else becomes ``_``."""
    return re.sub(r'[^\w+.-]+', '_', text).strip('_.').encode()[:max_bytes].decode(errors='ignore')


def unique_name(name: str, taken: set[str]) -> str:
    """``name``, with ``-2``, ``-3``, ... before its suffix if it is in ``taken``; adds the result to ``taken``.

    Upper and lower case count as equal, because some file systems do not distinguish them.
    """
    path, unique, number = Path(name), name, 1
    while unique.lower() in taken:
        number += 1
        unique = f'{path.stem}-{number}{path.suffix}'
    taken.add(unique.lower())
    return unique

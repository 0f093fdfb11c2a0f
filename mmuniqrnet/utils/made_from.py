"""A record, in a folder, of what its files are made from, so that a run that continues makes the rest from the same."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import MissingFileError, OverwriteError, UserError
from .io import atomic_path, make_folder

RECORD = 'made_from.json'


def keep_made_from(folder: Path, settings: Mapping[str, str], option: str, names: Iterable[str]) -> bool:
    """Write what the files of a folder are made from, or check that it is what they were made from before.

    Args:
        folder: The folder; it is made if it is missing.
        settings: From the names of arguments to their values; the values of files are their :func:`digest`.
        option: The option that names another folder, for messages.
        names: The files and folders that are made in it first.

    Returns:
        Whether the record was there.

    Raises:
        OverwriteError: The files are made from something else, or there is no record of what they are made from.
        UserError: The folder or the record can not be written or read.
    """
    record = folder / RECORD
    if record.exists():
        try:
            before = json.loads(record.read_text(encoding='utf-8'))
        except (OSError, ValueError) as error:
            raise UserError(f'{record} cannot be read ({error}): give another {option}.') from None
        for name in dict.fromkeys((*settings, *before)):
            old, new = before.get(name), settings.get(name)
            if old != new:
                how = f'another {name}' if _is_digest(old) else f'{name} {old or "none"}, not {new or "none"}'
                raise OverwriteError(f'{folder} was made with {how}: continue with the same, or give another {option}.')
        return True
    there = [name for name in names if _holds(folder / name)]
    if there:
        raise OverwriteError(
            f'{folder / there[0]} is there, and nothing says what it was made from: give another {option}.'
        )
    make_folder(folder)
    with atomic_path(record) as part:
        part.write_text(json.dumps(dict(settings), indent=1) + '\n', encoding='utf-8')
    return False


def digest(path: Path) -> str:
    """The SHA-256 of a file's content, as ``sha256:...``.

    Raises:
        MissingFileError: There is no such file.
        UserError: It cannot be read.
    """
    try:
        return 'sha256:' + hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise MissingFileError(f'there is no file {path}.') from None
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror}).') from None


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and value.startswith('sha256:')


def _holds(path: Path) -> bool:
    """Whether there is a file, a link, or a folder with something in it."""
    return any(path.iterdir()) if path.is_dir() else path.exists() or path.is_symlink()

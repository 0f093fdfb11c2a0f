"""Which files of the public data sets are present, which are missing, and where they belong."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from mmuniqrnet.utils.errors import UserError

from .known_sets import KnownSet

SEARCH_DEPTH = 4


@dataclass(frozen=True)
class FileState:
    """The state of a file or folder that data sets need.

    Attributes:
        path: Where it belongs, relative to the data root; the path of a folder ends in "/".
        needed_by: Names of the known sets that need it.
        present: Whether it exists and is complete.
        note: What was found; if it is not present, what is missing and how to get it.
    """

    path: str
    needed_by: tuple[str, ...]
    present: bool
    note: str


def check_files(data_root: str, sets: Sequence[KnownSet]) -> list[FileState]:
    """The state of every annotation file and image folder of the sets.

    Without the folder ``data_root`` all of them are missing.

    Raises:
        UserError: ``data_root`` is a file.
    """
    if os.path.exists(data_root) and not os.path.isdir(data_root):
        raise UserError(f'{data_root} is a file: give the folder of the data sets.')
    found = _list_files(data_root)
    states = []
    for path in dict.fromkeys(file for known in sets for file in known.files):
        users = [known for known in sets if path in known.files]
        present = os.path.isfile(os.path.join(data_root, path))
        note = _size(os.path.join(data_root, path)) if present else _how_to_get(path, users[0].source, found)
        states.append(FileState(path, tuple(known.name for known in users), present, note))
    for path in dict.fromkeys(known.images for known in sets):
        users = [known for known in sets if path == known.images]
        states.append(_check_images(data_root, path, users, found))
    return states


def _check_images(data_root: str, path: str, users: Sequence[KnownSet], found: Sequence[str]) -> FileState:
    folder, expected = os.path.join(data_root, path), users[0].num_images
    count = sum(name.lower().endswith('.jpg') for name in os.listdir(folder)) if os.path.isdir(folder) else 0
    present = count >= expected
    if present:
        note = f'{count:,} images'
    elif count:
        note = f'only {count:,} of {expected:,} images; get the rest from {users[0].image_source}'
    else:
        note = _how_to_get(path, users[0].image_source, found)
    return FileState(f'{path}/', tuple(known.name for known in users), present, note)


def _list_files(data_root: str) -> list[str]:
    """Paths of folders and of files other than images, relative to the root, to a depth of ``SEARCH_DEPTH``."""
    found = []
    for folder, folders, files in os.walk(data_root):
        relative = os.path.relpath(folder, data_root)
        if relative.count(os.sep) >= SEARCH_DEPTH - 1:
            folders.clear()
        found += [os.path.normpath(os.path.join(relative, name)) for name in folders]
        found += [
            os.path.normpath(os.path.join(relative, name))
            for name in files
            if not name.lower().endswith(('.jpg', '.png'))
        ]
    return found


def _how_to_get(path: str, source: str, found: Sequence[str]) -> str:
    """How to get a missing file: from another place under the data root if it seems to be there, else from its source.

    The same name is enough, except for names that several data sets have: ``instances.json`` and a folder ``images``
    must be in a folder of the same name, ``refs(...).p`` somewhere below a folder with the name of the data set.
    """
    dataset, *_, name = parts = path.split('/')
    ending = parts[-2:] if name in ('instances.json', 'images') else [name]
    candidates = [
        other
        for other in found
        if other.split(os.sep)[-len(ending) :] == ending
        and (not name.startswith('refs(') or dataset in other.split(os.sep))
    ]
    return f'found at {candidates[0]}: move or link it' if candidates else f'get it from {source}'


def _size(path: str) -> str:
    return f'{os.path.getsize(path) / 2**20:.1f} MiB'

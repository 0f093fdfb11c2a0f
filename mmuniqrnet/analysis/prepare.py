"""What of the public data sets is where, what is missing, and where it belongs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from .known_sets import KnownSet

SEARCH_DEPTH = 4


@dataclass(frozen=True)
class FileState:
    """A file or folder that data sets need.

    Attributes:
        path: Where it belongs, relative to the data root; a folder's ends in "/".
        needed_by: Names of the known sets.
        there: Whether all of it is there.
        note: What is wrong with it, and how to mend it; for what is there, what was found.
    """

    path: str
    needed_by: tuple[str, ...]
    there: bool
    note: str


def check_files(data_root: str, sets: Sequence[KnownSet]) -> list[FileState]:
    """The state of every annotation file and image folder of the sets.

    Raises:
        FileNotFoundError: There is no folder ``data_root``.
    """
    if not os.path.isdir(data_root):
        raise FileNotFoundError(f'there is no folder {data_root}; make it, and put the data sets there.')
    lying = _everything_under(data_root)
    states = []
    for path in dict.fromkeys(file for known in sets for file in known.files):
        users = [known for known in sets if path in known.files]
        there = os.path.isfile(os.path.join(data_root, path))
        note = _size(os.path.join(data_root, path)) if there else _where_from(path, users[0].source, lying)
        states.append(FileState(path, tuple(known.name for known in users), there, note))
    for path in dict.fromkeys(known.images for known in sets):
        users = [known for known in sets if path == known.images]
        states.append(_check_images(data_root, path, users, lying))
    return states


def _check_images(data_root: str, path: str, users: Sequence[KnownSet], lying: Sequence[str]) -> FileState:
    folder, expected = os.path.join(data_root, path), users[0].num_images
    count = sum(name.lower().endswith('.jpg') for name in os.listdir(folder)) if os.path.isdir(folder) else 0
    there = count >= expected
    if there:
        note = f'{count:,} images'
    elif count:
        note = f'only {count:,} of {expected:,} images; the rest is from {users[0].image_source}'
    else:
        note = _where_from(path, users[0].image_source, lying)
    return FileState(f'{path}/', tuple(known.name for known in users), there, note)


def _everything_under(data_root: str) -> list[str]:
    """Paths of files (pictures left out) and folders down to a few levels, relative to the root."""
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


def _where_from(path: str, source: str, lying: Sequence[str]) -> str:
    """Where the like of it lies already, under the same last two names or a last name that says enough; or a source."""
    parts = path.split('/')
    telling = parts[-1:] if parts[-1] != 'instances.json' else parts[-2:]
    # one data set's refs(unc).p is not another's
    near = [
        other
        for other in lying
        if other.split(os.sep)[-len(telling) :] == telling
        and (len(telling) > 1 or not parts[-1].startswith('refs(') or parts[0] in other.split(os.sep))
    ]
    return f'found at {near[0]}: move or link it' if near else f'from {source}'


def _size(path: str) -> str:
    return f'{os.path.getsize(path) / 2**20:.1f} MiB'

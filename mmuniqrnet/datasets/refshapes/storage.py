"""Storing RefShapes in a folder: made once, completely or not at all, without replacing other files."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mmuniqrnet.utils.errors import OverwriteError, UserError
from mmuniqrnet.utils.io import temporary_folder_beside

from .writer import DEFAULT_NUM_IMAGES, GENERATOR, VERSION, usable_cores, write_refshapes

CONTENTS = ('images', 'info.json', 'instances.json', 'refs.json')
MAX_WORKERS = 8
COMMAND = 'python tools/dataset_tools/make_refshapes.py'


class Made(NamedTuple):
    """``info`` is the content of ``info.json``; ``created`` is False if the data existed already."""

    info: dict
    created: bool


def make_refshapes(
    data_root: str | os.PathLike,
    seed: int = 0,
    num_images: dict[str, int] | None = None,
    crowded: bool = False,
    no_target: float = 0.0,
    workers: int | None = None,
    overwrite: bool = False,
) -> Made:
    """Make RefShapes in the folder ``data_root``, unless it exists already.

    The data is written to a temporary folder beside it and then moved, so an interrupted run leaves no incomplete data
    set, and of several simultaneous runs the first one counts.

    Args:
        data_root: folder of this data set alone, created with its parents; it may exist if it is empty.
        seed: another seed gives other images and expressions.
        num_images: number of images of each split, by name; a split that is not named has none. None means
            ``DEFAULT_NUM_IMAGES``.
        crowded: the harder setting, 5 to 7 objects per image instead of 3 to 5, and twice as many twins.
        no_target: share of the expressions, 0 or more and less than 1, that fit no object of their image; images and
            other expressions stay the same.
        workers: number of processes; None means one per core, at most 8. The data does not depend on it.
        overwrite: replace a RefShapes made with other settings.

    Raises:
        ValueError: a setting is impossible.
        FileExistsError: the folder has a RefShapes with other settings and ``overwrite`` is False, or other files.
        UserError: the folder cannot be written.
    """
    settings: dict[str, Any] = dict(
        seed=_checked_seed(seed),
        num_images=_checked_num_images(num_images),
        crowded=bool(crowded),
        no_target=_checked_share(no_target),
    )
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise UserError(f'workers must be a positive integer, not {workers!r}.')
    folder = Path(os.path.realpath(data_root))
    info = read_info(folder)
    if info is not None:
        difference = settings_difference(info, **settings)
        if difference is None:
            return Made(info, False)
        if not overwrite:
            raise OverwriteError(
                f'{folder} holds {difference}: choose another folder, or pass overwrite '
                f'("{COMMAND} {folder} --overwrite") to replace it.'
            )
    with temporary_folder_beside(folder) as temporary:
        new = temporary / 'new'
        new.mkdir()
        try:
            made = write_refshapes(new, **settings, workers=workers or min(usable_cores(), MAX_WORKERS))
        except OSError as error:
            raise UserError(f'{folder} can not be written ({error.strerror}): choose another folder.') from error
        try:
            if info is not None:
                folder.rename(temporary / 'old')
            new.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # Another process was faster: its data is the same, or this call raises an error that tells how it differs.
            return make_refshapes(folder, **settings, workers=workers)
    return Made(made, True)


def read_info(folder: str | os.PathLike) -> dict | None:
    """Read ``info.json`` of the RefShapes in ``folder``; None if the folder does not exist or is empty.

    Raises:
        FileExistsError: ``folder`` is a file, holds other files, or lacks a part of RefShapes.
    """
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not folder.is_dir():
        raise OverwriteError(f'{folder} is a file: choose another folder for RefShapes.')
    found = {path.name for path in folder.iterdir()}
    others = sorted(found.difference(CONTENTS))
    if others:
        raise OverwriteError(
            f'{folder} holds "{others[0]}", which is no part of RefShapes, and is left as it is: choose another folder.'
        )
    info = None
    if 'info.json' in found:
        with suppress(ValueError):
            info = json.loads((folder / 'info.json').read_text(encoding='utf-8'))
    if not isinstance(info, dict) or info.get('generator') != GENERATOR:
        raise OverwriteError(
            f'{folder} is not empty and has no info.json of RefShapes, so it is left as it is: choose another folder.'
        )
    missing = sorted(set(CONTENTS) - found)
    if missing:
        raise OverwriteError(
            f'{folder} holds a RefShapes without its {missing[0]}: remove the folder, or choose '
            'another one, to make it again.'
        )
    return info


def settings_difference(
    info: dict, seed: int, num_images: dict[str, int] | None, crowded: bool, no_target: float
) -> str | None:
    """How the RefShapes of ``info`` differs from the given settings, in words; None if it does not.

    With ``num_images`` None any numbers of images are accepted.
    """
    if info.get('version') != VERSION:
        return f'a RefShapes of version {info.get("version")}, and this is version {VERSION}'
    if info.get('seed') != seed:
        return f'a RefShapes made with seed {info.get("seed")}, not {seed}'
    if info.get('crowded', False) != crowded:
        return f'a RefShapes made with crowded={info.get("crowded", False)}, not {crowded}'
    if info.get('no_target', 0) != no_target:
        return f'a RefShapes made with no_target={info.get("no_target", 0)}, not {no_target}'
    if num_images is not None and info.get('num_images') != num_images:
        return f'a RefShapes of {_count(info.get("num_images", {}))} images, not {_count(num_images)}'
    return None


def _count(num_images: dict[str, int]) -> str:
    return ', '.join(f'{count} {split}' for split, count in num_images.items())


def _checked_seed(seed: int) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UserError(f'The seed of RefShapes must be an integer of at least 0, not {seed!r}.')
    return seed


def _checked_share(no_target: float) -> float:
    if not isinstance(no_target, int | float) or isinstance(no_target, bool) or not 0 <= no_target < 1:
        raise UserError(f'no_target is a share of the expressions, 0 or more and less than 1, not {no_target!r}.')
    return no_target


def _checked_num_images(num_images: dict[str, int] | None) -> dict[str, int]:
    """All splits in their order, with 0 for those left out."""
    if num_images is None:
        return dict(DEFAULT_NUM_IMAGES)
    unknown = sorted(set(num_images) - set(DEFAULT_NUM_IMAGES))
    if unknown:
        raise UserError(f'num_images names the split "{unknown[0]}"; RefShapes has {", ".join(DEFAULT_NUM_IMAGES)}.')
    for split, count in num_images.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise UserError(f'num_images["{split}"] must be an integer of at least 0, not {count!r}.')
    if not any(num_images.values()):
        raise UserError('num_images asks for no image at all; give at least one split a positive number.')
    return {split: num_images.get(split, 0) for split in DEFAULT_NUM_IMAGES}

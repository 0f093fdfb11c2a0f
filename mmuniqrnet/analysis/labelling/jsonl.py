"""JSON Lines, the format of :class:`~mmuniqrnet.datasets.ReferJsonlDataset`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmuniqrnet.datasets.jsonl_validation import read_and_validate
from mmuniqrnet.structures.mask_files import read_mask_file
from mmuniqrnet.structures.masks import with_text_counts
from mmuniqrnet.structures.rle import rle_size
from mmuniqrnet.utils.errors import UserError

from .records import LabelledObject, check_size

SHOWN = 3


def read_jsonl(path: Path, images: str | None = None) -> list[LabelledObject]:
    """The objects of a file; mask files are read.

    Args:
        path: The file.
        images: Folder of the images and mask files; None: images are not opened.

    Raises:
        UserError: The file has a line that cannot be used.
    """
    found = read_and_validate(str(path), images or '', None, open_images=images is not None, whole=False)
    if found.problems:
        shown = '; '.join(map(str, found.problems[:SHOWN]))
        more = f'; and {len(found.problems) - SHOWN} more' if len(found.problems) > SHOWN else ''
        raise UserError(f'{path} has {len(found.problems)} problem(s): {shown}{more}.')
    objects = []
    for number, record in found.records:
        width, height = record['size'] or (None, None)
        check_size(width, height, f'{path}, line {number}')
        one = LabelledObject(
            f'{path}, line {number}',
            record['image'],
            record['expressions'],
            width=width,
            height=height,
            split=record['split'],
        )
        instance = record['instance'] or {}
        one.box, one.mask = instance.get('bbox'), instance.get('mask')
        if 'mask_path' in instance:
            one.mask = read_mask_file(instance['mask_path'], height, width)
        if isinstance(one.mask, dict) and width is None:
            one.height, one.width = rle_size(one.mask)
            check_size(one.width, one.height, one.where)
        objects.append(one)
    return objects


def to_line(one: LabelledObject) -> dict[str, Any]:
    """An object as a line; the score is not in it."""
    line: dict[str, Any] = dict(image=one.image, expressions=one.expressions)
    if one.no_target:
        line['no_target'] = True
    if one.box is not None:
        line['bbox'] = one.box
    if one.mask is not None:
        line['mask'] = with_text_counts(one.mask) if isinstance(one.mask, dict) else one.mask
    if one.width and one.height:
        line.update(width=one.width, height=one.height)
    if one.split is not None:
        line['split'] = one.split
    return line


def write_jsonl(objects: Sequence[LabelledObject]) -> str:
    """The objects as the text of a file."""
    return ''.join(json.dumps(to_line(one), ensure_ascii=False) + '\n' for one in objects)

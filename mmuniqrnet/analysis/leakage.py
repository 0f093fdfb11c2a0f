"""Which images of a training file are val or test images of the public data sets.

The val and test images of RefCOCO, RefCOCO+ and RefCOCOg are images of COCO *train2014*, and each data set selects its
own. Training on one of them, on their union or on COCO therefore leaks, unless the val and test images of all three are
excluded.
"""

import json
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mmuniqrnet.datasets.annotation_files import load_json, load_refs, require_file
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import atomic_path, refuse_overwriting

from .known_sets import KnownSet

# COCO_train2014_000000000009.jpg, 000000000009.jpg, 9.jpg
NUMBERED = re.compile(r'(?:^|_)0*(\d+)\.[A-Za-z]+$')

# The twelve digits in the name of a COCO image; REFER's refs add the object's number.
COCO_NUMBER = re.compile(r'(?<!\d)\d{12}(?!\d)')


@dataclass
class ImageNumbers:
    """The numbers by which images may be held out: their ids, and the COCO numbers in their names.

    Attributes:
        path: The file that the images are from.
        numbers: Ids and numbers in names.
        disagreeing: Name and id of each image whose id is not the number in its name.
    """

    path: str
    numbers: set[int] = field(default_factory=set)
    disagreeing: dict[str, int] = field(default_factory=dict)

    def add(self, image_id: Any, name: str | None, where: str) -> set[int]:
        """Add an image; returns its numbers.

        Args:
            image_id: Its id.
            name: Its file name, if the file has one.
            where: What in the file it is of, for the message.

        Raises:
            UserError: The id is not an integer, so that it equals no id of the held-out images.
        """
        if type(image_id) is not int:
            raise UserError(
                f'{self.path}: the image id {image_id!r} of {where} is not an integer, so whether the image is held '
                "out can not be checked; COCO's ids are integers, such as 9 for COCO_train2014_000000000009.jpg."
            )
        named = COCO_NUMBER.search(os.path.basename(str(name or '')))
        found = {image_id} if named is None else {image_id, int(named[0])}
        if len(found) == 2:
            self.disagreeing[str(name)] = image_id
        self.numbers |= found
        return found

    def warn(self) -> None:
        """Say how many ids disagree with the names."""
        if self.disagreeing:
            name, image_id = next(iter(self.disagreeing.items()))
            warnings.warn(
                f'{self.path}: the ids of {len(self.disagreeing)} images are not the COCO numbers in their names, the '
                f'first is {name} with id {image_id}; both are compared. Renumbered ids belong to other images.',
                stacklevel=3,
            )


@dataclass(frozen=True)
class HeldOut:
    """The images of a val or test split, which must not be trained on."""

    name: str
    split: str
    image_ids: frozenset[int]


def held_out_images(data_root: str, sets: Sequence[KnownSet]) -> list[HeldOut]:
    """All splits of the sets except ``train``; their annotation files must be under ``data_root``."""
    found = []
    for known in sets:
        splits = [split for split in known.splits_present(data_root) if split != 'train']
        dataset = known.load(data_root, splits)
        ids: dict[str, set[int]] = {split: set() for split in splits}
        images = ImageNumbers(dataset.ann_file)
        for index in range(len(dataset)):
            item = dataset.get_annotation(index)
            ids[item['split']] |= images.add(item['img_id'], item['img_path'], f'ref_id {item["ref_id"]}')
        images.warn()
        found += [HeldOut(known.name, split, frozenset(ids[split])) for split in splits]
    return found


def training_images(path: str, split: str | None = None) -> set[int]:
    """Image ids of a training file, and the COCO numbers (twelve digits) in its file names, if they differ.

    A warning says so if they differ.

    Args:
        path: Refs (``.p``, or ``.json`` with a list), COCO's annotations (``.json`` with ``images``), ReferItGame's
            queries (``.json``, keys ``{image}_{region}``), or JSON Lines (``.jsonl``) for ``ReferJsonlDataset``, whose
            image files must be named by their COCO number.
        split: The split of refs or JSON Lines that is trained on; None = the whole file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file has none of these formats or no such split, or an image id is not an integer.
    """
    require_file(path, 'the training file', 'refs, COCO annotations, ReferItGame queries or JSON Lines')
    if path.endswith('.jsonl'):
        return _of_jsonl(path, split)
    content = load_json(path) if path.endswith('.json') else load_refs(path)
    if isinstance(content, list) and content and all(isinstance(ref, dict) and 'image_id' in ref for ref in content):
        return _numbers(path, [(ref['image_id'], ref.get('file_name')) for ref in _of_split(content, split, path)])
    if split is not None:
        raise UserError(f'{path} has no splits, so it has no split {split!r}.')
    if isinstance(content, dict) and isinstance(content.get('images'), list):
        for index, image in enumerate(content['images']):
            if not isinstance(image, dict) or 'id' not in image:
                raise UserError(f'{path}: images[{index}] has no "id".')
        return _numbers(path, [(image['id'], image.get('file_name')) for image in content['images']])
    if isinstance(content, dict) and content and all(re.fullmatch(r'\d+_\d+', key) for key in content):
        return {int(key.partition('_')[0]) for key in content}
    raise UserError(f'{path} holds neither refs, nor COCO annotations, nor ReferItGame queries.')


def _numbers(path: str, images: Sequence[tuple[Any, str | None]]) -> set[int]:
    found = ImageNumbers(path)
    for index, (image_id, name) in enumerate(images):
        found.add(image_id, name, f'entry {index} ({name})' if name else f'entry {index}')
    found.warn()
    return found.numbers


def _of_jsonl(path: str, split: str | None) -> set[int]:
    ids, lines = set(), []
    with open(path, encoding='utf-8-sig') as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    lines.append(dict(json.loads(line), number=number))
                except (ValueError, TypeError):
                    raise UserError(
                        f'{path}, line {number}, is not a JSON object; tools/dataset_tools/validate.py '
                        'lists all problems of the file.'
                    ) from None
    for record in _of_split(lines, split, path):
        match = NUMBERED.search(os.path.basename(str(record.get('image', ''))))
        if match is None:
            raise UserError(
                f'{path}, line {record["number"]}: the image {record.get("image")!r} is not named by its '
                'COCO number, so whether it is held out can not be checked.'
            )
        ids.add(int(match.group(1)))
    return ids


def _of_split(records: list[dict], split: str | None, path: str) -> list[dict]:
    if split is None:
        return records
    kept = [record for record in records if record.get('split') == split]
    if not kept:
        there = sorted({str(record.get('split')) for record in records})
        raise UserError(f'{path} has no split {split!r}; it has {", ".join(there)}.')
    return kept


def find_leaks(image_ids: set[int], held_out: Sequence[HeldOut]) -> list[tuple[HeldOut, set[int]]]:
    """For each held-out split, the images of it that are among ``image_ids``."""
    return [(split, image_ids & split.image_ids) for split in held_out]


def write_exclusion_list(path: str, held_out: Sequence[HeldOut], overwrite: bool = False) -> int:
    """Write the ids of all held-out images as a JSON list, for ``filter_cfg=dict(exclude_img_ids=PATH)``.

    All of them, not only those of one training file, so that the list can be used for any. Returns their number.

    Raises:
        OverwriteError: The file exists and ``overwrite`` is False.
    """
    target = refuse_overwriting(path, overwrite)
    ids = sorted(set().union(*(split.image_ids for split in held_out)))
    with atomic_path(target) as part:
        part.write_text(json.dumps(ids) + '\n', encoding='utf-8')
    return len(ids)

"""Which images of a training file are val or test images of the public data sets.

The val and test images of RefCOCO, RefCOCO+ and RefCOCOg are images of COCO *train2014*, and each data set selects its
own. Training on one of them, on their union or on COCO therefore leaks, unless the val and test images of all three are
excluded.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmuniqrnet.datasets.annotation_files import load_json, load_refs, require_file
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import atomic_path, refuse_overwriting

from .known_sets import KnownSet

# COCO_train2014_000000000009.jpg, 000000000009.jpg, 9.jpg
NUMBERED = re.compile(r'(?:^|_)0*(\d+)\.[A-Za-z]+$')


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
        for index in range(len(dataset)):
            item = dataset.get_data_info(index)
            ids[item['split']].add(item['img_id'])
        found += [HeldOut(known.name, split, frozenset(ids[split])) for split in splits]
    return found


def training_images(path: str, split: str | None = None) -> set[int]:
    """Image ids of a training file.

    Args:
        path: Refs (``.p``, or ``.json`` with a list), COCO's annotations (``.json`` with ``images``), ReferItGame's
            queries (``.json``, keys ``{image}_{region}``), or JSON Lines (``.jsonl``) for ``ReferJsonlDataset``, whose
            image files must be named by their COCO number.
        split: The split of refs or JSON Lines that is trained on; None = the whole file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file has none of these formats, or no such split.
    """
    require_file(path, 'the training file', 'refs, COCO annotations, ReferItGame queries or JSON Lines')
    if path.endswith('.jsonl'):
        return _of_jsonl(path, split)
    content = load_json(path) if path.endswith('.json') else load_refs(path)
    if isinstance(content, list) and content and all(isinstance(ref, dict) and 'image_id' in ref for ref in content):
        return {ref['image_id'] for ref in _of_split(content, split, path)}
    if split is not None:
        raise UserError(f'{path} has no splits, so it has no split {split!r}.')
    if isinstance(content, dict) and isinstance(content.get('images'), list):
        return {image['id'] for image in content['images']}
    if isinstance(content, dict) and content and all(re.fullmatch(r'\d+_\d+', key) for key in content):
        return {int(key.partition('_')[0]) for key in content}
    raise UserError(f'{path} holds neither refs, nor COCO annotations, nor ReferItGame queries.')


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

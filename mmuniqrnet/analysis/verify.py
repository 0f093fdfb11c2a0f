"""Compare a data set on disk with the published one: counts per split, image sizes, boxes and masks."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from mmuniqrnet.datasets.annotation_files import windows_path
from mmuniqrnet.datasets.base import BaseReferringDataset
from mmuniqrnet.datasets.objects import ROUNDING
from mmuniqrnet.datasets.pictures import Picture, check_picture, in_parallel
from mmuniqrnet.structures.masks import mask_to_box
from mmuniqrnet.utils.errors import UserError

from .known_sets import OFFICIAL_COUNTS, KnownSet

# Pixels. Published boxes are rounded to 0.01; the box of an RLE has whole pixels.
TOLERANCE = {'polygons': 0.1, 'rle': 1.1}


@dataclass
class Verification:
    """What was found in one known set.

    Attributes:
        name: Name of the set.
        counts: For each split, the number of ``refs``, ``expressions`` and ``images`` that were found.
        differences: A sentence for each split that is missing and each count that is not the official one.
        problems: A sentence for each image and object that is inconsistent with its annotation.
        notes: A sentence for what is changed when the set is read, such as boxes that are clipped.
        images_checked: How many images were decoded.
        objects_checked: How many boxes and masks were compared.
    """

    name: str
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    images_checked: int = 0
    objects_checked: int = 0

    @property
    def good(self) -> bool:
        """Whether the set is the published one, without differences and problems."""
        return not self.differences and not self.problems


def verify_set(known: KnownSet, data_root: str, check_images: bool = True) -> Verification:
    """Read all official splits of a known set, count them, and check every image and object once.

    Args:
        known: The set; its annotation files must exist.
        data_root: The folder that its files are relative to.
        check_images: Also decode the images and compare the sizes.

    Raises:
        FileNotFoundError, ValueError: The annotation files are missing or malformed.
    """
    result = Verification(known.name)
    present = known.splits_present(data_root)
    official = OFFICIAL_COUNTS[known.name]
    result.differences += [f'split {split} is missing' for split in official if split not in present]
    if not present:
        return result
    dataset = known.load(data_root, present, result.problems)
    result.notes += dataset.repairs.sentences()
    result.counts = count_by_split(dataset)
    for split in present:
        for what, expected in official[split].items():
            found = result.counts.get(split, {}).get(what, 0)
            if found != expected:
                result.differences.append(f'{split} has {found:,} {what}, officially {expected:,}')
    if check_images:
        result.images_checked, problems = check_image_sizes(dataset)
        result.problems += problems
    result.objects_checked, problems = check_objects(dataset)
    result.problems += problems
    return result


def count_by_split(dataset: BaseReferringDataset) -> dict[str, dict[str, int]]:
    """The number of ``refs``, ``expressions`` and ``images`` of each split."""
    found: dict[str, dict[str, set]] = {}
    for item in _items(dataset):
        of_split = found.setdefault(item['split'], dict(refs=set(), expressions=set(), images=set()))
        for what, key in (('refs', 'ref_id'), ('expressions', 'sent_id'), ('images', 'img_id')):
            of_split[what].add(item[key])
    return {split: {what: len(ids) for what, ids in of_split.items()} for split, of_split in found.items()}


def check_image_sizes(dataset: BaseReferringDataset) -> tuple[int, list[str]]:
    """Decode all images and compare their sizes with the annotations; the number of existing images, and problems."""
    problems, missing = [], []
    images = {item['img_path']: item for item in _items(dataset)}
    decoded = in_parallel(_picture, images)
    for path, item in images.items():
        if not os.path.isfile(path):
            missing.append(path)
            continue
        found = decoded[path]
        if isinstance(found, str):
            problems.append(found)
            continue
        width, height = found.width, found.height  # as stored, not rotated by EXIF
        if 'width' in item and (width, height) != (item['width'], item['height']):
            problems.append(f'{path} is {width}x{height} pixels, its annotation says {item["width"]}x{item["height"]}')
    if missing:
        problems.append(f'{len(missing):,} of {len(images):,} images are missing, such as {missing[0]}')
        problems += [reason for reason in map(windows_path, missing[:1]) if reason]
    return len(images) - len(missing), problems


def check_objects(dataset: BaseReferringDataset) -> tuple[int, list[str]]:
    """Compare each box with its image and its mask; returns the number of objects, and problems."""
    problems, seen = [], set()
    for index in range(len(dataset)):
        key = str(super(BaseReferringDataset, dataset).get_data_info(index)['ann_id'])
        if key in seen:
            continue
        seen.add(key)
        item = dataset.get_data_info(index)
        for instance in item['instances']:
            reason = _object_problem(instance, item.get('width', math.inf), item.get('height', math.inf))
            if reason:
                problems.append(f'ann_id {item["ann_id"]} on image {item["img_id"]}: {reason}')
    return len(seen), problems


def _object_problem(instance: dict, width: float, height: float) -> str | None:
    box = instance.get('bbox')
    if box is not None:
        x1, y1, x2, y2 = box
        if x2 <= x1 or y2 <= y1:
            return f'the box {_short(box)} has no area'
        if min(x1, y1) < -ROUNDING or x2 > width + ROUNDING or y2 > height + ROUNDING:
            return f'the box {_short(box)} reaches outside the image of {width}x{height} pixels'
    mask = instance.get('mask')
    if mask is None or box is None:
        return None
    around = mask_to_box(mask)
    if isinstance(mask, list):  # pixels outside the image do not count; the box is clipped, too
        limits = (width, height, width, height)
        around = [min(max(side, 0.0), limit) for side, limit in zip(around, limits)]
    if max(abs(a - b) for a, b in zip(box, around)) > TOLERANCE['polygons' if isinstance(mask, list) else 'rle']:
        return f'the box is {_short(box)}, but the box around its mask is {_short(around)}'
    return None


def _picture(path: str) -> Picture | str:
    try:
        return check_picture(path)
    except UserError as error:
        return str(error)


def _short(box: list[float]) -> str:
    return '[' + ', '.join(f'{side:.1f}' for side in box) + ']'


def _items(dataset: BaseReferringDataset) -> Iterator[dict]:
    """The items without their instances, because decoding these takes most of the time."""
    for index in range(len(dataset)):
        yield super(BaseReferringDataset, dataset).get_data_info(index)

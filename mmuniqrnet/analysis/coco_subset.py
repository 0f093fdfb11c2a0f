"""COCO annotations for pre-training a backbone, without the val and test images of referring expressions."""

import json
from typing import NamedTuple

from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.datasets.coco_files import check_coco
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import atomic_path, refuse_overwriting

from .leakage import ImageNumbers


class SubsetCounts(NamedTuple):
    """How much of an annotation file was kept.

    Attributes:
        images: Number of images that were kept.
        annotations: Number of annotations that were kept.
        removed: Number of listed images that were in the file and were removed.
        not_found: Number of listed images that were not in the file.
    """

    images: int
    annotations: int
    removed: int
    not_found: int


def write_without_images(source: str, target: str, exclude: str, overwrite: bool = False) -> SubsetCounts:
    """Copy COCO annotations without the listed images and their annotations.

    Args:
        source: Annotations in COCO's format, such as ``instances_train2014.json``.
        target: File to write.
        exclude: JSON list of image ids, as ``tools/dataset_tools/leakage.py --out`` writes it from the refs files.
        overwrite: Whether an existing ``target`` is replaced.

    Raises:
        FileNotFoundError: A file is missing.
        OverwriteError: ``target`` exists and ``overwrite`` is False.
        ValueError: A file is malformed, or no listed image is in ``source``, so they do not belong together.
    """
    path = refuse_overwriting(target, overwrite)
    listed = 'a JSON list of image ids, which tools/dataset_tools/leakage.py --out makes from the refs files'
    require_file(exclude, '--exclude', listed)
    require_file(source, 'the annotation file', "images and annotations in COCO's format")
    ids = load_json(exclude)
    if not isinstance(ids, list) or not ids or not all(type(image) is int for image in ids):
        raise UserError(f'{exclude} should hold {listed}.')
    content = load_json(source)
    # Of two equal ids, the readers of COCO's format keep one, without a word.
    check_coco(content, source, unique=('images', 'annotations'))
    excluded = set(ids)
    images = ImageNumbers(source)
    for index, image in enumerate(content['images']):
        images.add(image.get('id'), image.get('file_name'), f'images[{index}]')
    if images.disagreeing:
        name, image_id = next(iter(images.disagreeing.items()))
        raise UserError(
            f'{source}: {name} has id {image_id}, which is not the COCO number in its name, so the images to remove '
            "can not be told: give COCO's own annotations."
        )
    there = images.numbers
    if not there & excluded:
        raise UserError(
            f'{source} has none of the {len(excluded)} images of {exclude}, which belong to COCO train2014 '
            'and train2017: give annotations of one of these.'
        )
    content['images'] = [image for image in content['images'] if image['id'] not in excluded]
    content['annotations'] = [ann for ann in content['annotations'] if ann['image_id'] not in excluded]
    with atomic_path(path) as part, open(part, 'w', encoding='utf-8') as file:
        json.dump(content, file)
    return SubsetCounts(
        len(content['images']), len(content['annotations']), len(there & excluded), len(excluded - there)
    )

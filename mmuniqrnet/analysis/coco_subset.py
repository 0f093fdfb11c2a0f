"""COCO's annotations for pre-training a backbone, without the images that referring expressions are tested on."""

import json
from typing import NamedTuple

from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.utils.io import atomic_path, refuse_overwriting


class Kept(NamedTuple):
    """How much of an annotation file stayed.

    Attributes:
        images: Images that stayed.
        annotations: Annotations that stayed.
        left_out: Images that were in the file and on the list.
        not_there: Images on the list that the file never had.
    """

    images: int
    annotations: int
    left_out: int
    not_there: int


def write_without_images(source: str, target: str, exclude: str, overwrite: bool = False) -> Kept:
    """Write COCO annotations again, without the listed images and what is annotated on them.

    Args:
        source: Annotations in COCO's format, such as ``instances_train2014.json``.
        target: Where to write.
        exclude: JSON list of image ids, as ``tools/dataset_tools/leakage.py --out`` writes it from the refs files.
        overwrite: Whether ``target`` may be there already.

    Raises:
        FileNotFoundError: A file is missing.
        OverwriteError: ``target`` exists and ``overwrite`` is False.
        ValueError: A file is malformed, or no listed image is in ``source``: then they do not belong together.
    """
    target = refuse_overwriting(target, overwrite)
    listed = 'a JSON list of image ids, which tools/dataset_tools/leakage.py --out makes from the refs files'
    require_file(exclude, '--exclude', listed)
    require_file(source, 'the annotation file', "images and annotations in COCO's format")
    ids = load_json(exclude)
    if not isinstance(ids, list) or not ids or not all(type(image) is int for image in ids):
        raise ValueError(f'{exclude} should hold {listed}.')
    content = load_json(source)
    if not isinstance(content, dict) or not {'images', 'annotations'} <= content.keys():
        raise ValueError(f'{source} should be a JSON object with "images" and "annotations", as COCO\'s.')
    excluded = set(ids)
    there = {image['id'] for image in content['images']}
    if not there & excluded:
        raise ValueError(
            f'{source} has none of the {len(excluded)} images of {exclude}, which are of COCO train2014 '
            'and train2017: is it another part of COCO?'
        )
    content['images'] = [image for image in content['images'] if image['id'] not in excluded]
    content['annotations'] = [ann for ann in content['annotations'] if ann['image_id'] not in excluded]
    with atomic_path(target) as part, open(part, 'w', encoding='utf-8') as file:
        json.dump(content, file)
    return Kept(len(content['images']), len(content['annotations']), len(there & excluded), len(excluded - there))

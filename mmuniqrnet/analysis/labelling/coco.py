"""COCO's format with expressions: ``expressions`` in each annotation, ``no_target`` in an image."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.datasets.coco_files import check_coco
from mmuniqrnet.datasets.objects import Repairs, read_object
from mmuniqrnet.structures.masks import mask_area, mask_to_box, with_text_counts
from mmuniqrnet.utils.errors import UserError

from .records import EXPRESSION, LABEL, NO_TARGET, LabelledObject, by_image, check_size, without_empty


def read_coco(path: Path) -> tuple[list[LabelledObject], list[str]]:
    """The annotations of a file, and notes on what was changed.

    The expressions of an annotation are ``expressions`` (a text or a list of texts), or the attribute ``expression``
    that CVAT writes into COCO's format.

    Raises:
        UserError: It is not COCO's format, or a box or mask cannot be read.
    """
    require_file(str(path), 'the file', "annotations in COCO's format")
    content = load_json(str(path))
    check_coco(content, str(path))
    for image in content['images']:
        check_size(image.get('width'), image.get('height'), f'{path}, image {image["id"]}')
    images, repairs, objects = {image['id']: image for image in content['images']}, Repairs(), []
    for number, annotation in enumerate(content['annotations']):
        where = f'{path}, annotation {annotation.get("id", f"number {number}")}'
        image = images[annotation['image_id']]
        try:
            instance = read_object(annotation, image, repairs)
        except UserError as error:
            raise UserError(f'{where}: {error}.') from None
        if 'lost_mask' in instance:
            raise UserError(f'{where}: {instance["lost_mask"]}.')
        one = _of_image(where, image)
        one.expressions = _texts(annotation, where)
        one.box, one.mask = instance.get('bbox'), instance.get('mask')
        one.split = annotation.get('split', one.split)
        objects.append(one)
    for image in content['images']:
        if image.get(NO_TARGET):
            one = _of_image(f'{path}, image {image["id"]}', image)
            one.expressions = _as_texts(image[NO_TARGET], f'{one.where}: "{NO_TARGET}"')
            objects.append(one)
    return objects, repairs.sentences()


def _of_image(where: str, image: dict) -> LabelledObject:
    return LabelledObject(
        where,
        image['file_name'],
        width=image.get('width'),
        height=image.get('height'),
        split=image.get('split'),
    )


def _texts(annotation: dict, where: str) -> list[str]:
    if 'expressions' in annotation:
        return _as_texts(annotation['expressions'], f'{where}: "expressions"')
    attributes = annotation.get('attributes')
    if isinstance(attributes, dict) and attributes.get(EXPRESSION):
        return _as_texts(attributes[EXPRESSION], f'{where}: the attribute "{EXPRESSION}"')
    return []


def _as_texts(value: Any, what: str) -> list[str]:
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
        raise UserError(f'{what} should be a text or a list of texts, not {str(value)[:60]}.')
    return without_empty([value] if isinstance(value, str) else value)


def write_coco(objects: Sequence[LabelledObject]) -> str:
    """The objects as the text of a file; a prediction has its ``score``, as in COCO's results."""
    images: list[dict] = []
    annotations: list[dict] = []
    for group in by_image(objects):
        image: dict[str, Any] = dict(id=len(images) + 1, file_name=group[0].image)
        if group[0].width and group[0].height:
            image.update(width=group[0].width, height=group[0].height)
        if group[0].split is not None:
            image['split'] = group[0].split
        images.append(image)
        for one in group:
            if one.no_target:
                image[NO_TARGET] = [*image.get(NO_TARGET, []), *one.expressions]
            else:
                annotations.append(_annotation(one, len(annotations) + 1, image['id']))
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name=LABEL)])
    return json.dumps(content, ensure_ascii=False, indent=1) + '\n'


def _annotation(one: LabelledObject, number: int, image_id: int) -> dict[str, Any]:
    x1, y1, x2, y2 = one.box if one.box is not None else mask_to_box(one.mask)  # type: ignore[arg-type]
    area = (x2 - x1) * (y2 - y1) if one.mask is None else mask_area(one.rle())
    annotation: dict[str, Any] = dict(
        id=number,
        image_id=image_id,
        category_id=1,
        bbox=[x1, y1, x2 - x1, y2 - y1],
        area=area,
        iscrowd=0,
        expressions=one.expressions,
        segmentation=[],
    )
    if one.mask is not None:
        annotation['segmentation'] = with_text_counts(one.mask) if isinstance(one.mask, dict) else one.mask
    if one.score is not None:
        annotation['score'] = one.score
    return annotation

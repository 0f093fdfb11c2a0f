"""FiftyOne: the JSON of a data set, which ``Dataset.write_json`` writes and ``Dataset.from_json`` reads.

Each expression is a detection, its ``label``; the detections of an object have the same ``ref_id``. A mask belongs to
the box of its detection, so that the box is the one around the mask; a box that differs from it is in ``own_box``, in
pixels. ``no_target`` of a sample has the expressions that match nothing in the image, and a tag is the split.
"""

import base64
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.datasets.objects import Repairs, clip_box, is_numbers
from mmuniqrnet.structures.masks import decode_mask, encode_mask, mask_to_box, tight_box
from mmuniqrnet.structures.overlap import resize_nearest
from mmuniqrnet.utils.errors import UserError

from .records import NO_TARGET, LabelledObject, by_image, check_size, without_empty

ANNOTATIONS, PREDICTIONS = 'ground_truth', 'predictions'
EMBEDDED = 'fiftyone.core.fields.EmbeddedDocumentField(fiftyone.core.{})'


def read_fiftyone(path: Path) -> tuple[list[LabelledObject], list[str]]:
    """The objects of the field ``ground_truth``, or of the only field with detections, and notes on changes.

    Raises:
        UserError: It is not such a file, or a detection cannot be read.
    """
    require_file(str(path), 'the file', 'a data set of FiftyOne, written by Dataset.write_json')
    content = load_json(str(path))
    samples = content.get('samples') if isinstance(content, dict) else None
    if not isinstance(samples, list) or not all(isinstance(sample, dict) for sample in samples):
        raise UserError(f'{path} should be a JSON object with "samples", as Dataset.write_json of FiftyOne writes it.')
    name, repairs = _field_of(samples, path), Repairs()
    objects: list[LabelledObject] = []
    for number, sample in enumerate(samples):
        where = f'{path}, sample {number}'
        image = sample.get('filepath')
        if not isinstance(image, str) or not image:
            raise UserError(f'{where} has no "filepath".')
        size, tags = _member(sample, 'metadata', dict, where), _member(sample, 'tags', list, where)
        if not size.get('width') or not size.get('height'):
            raise UserError(f'{where} has no size: call compute_metadata() of the data set before it is written.')
        check_size(size['width'], size['height'], where)
        common: dict[str, Any] = dict(
            width=size['width'], height=size['height'], split=tags[0] if len(tags) == 1 else None
        )
        found: dict[Any, LabelledObject] = {}
        detections = _member(_member(sample, name, dict, where), 'detections', list, where)
        for index, detection in enumerate(detections):
            one = _read_detection(detection, LabelledObject(f'{where}, detection {index}', image, **common), repairs)
            key = detection.get('ref_id')
            if not isinstance(key, int | str | None):
                raise UserError(f'{one.where}: "ref_id" should be a number or a text.')
            first = found.setdefault((key,) if key is not None else index, one)
            if first is not one:
                if (first.box, first.mask) != (one.box, one.mask):
                    raise UserError(f'{one.where} has the ref_id {key} of another object.')
                first.expressions += one.expressions
        objects += found.values()
        rows = _member(_member(sample, NO_TARGET, dict, where), 'classifications', list, where)
        if not all(isinstance(row, dict) and isinstance(row.get('label'), str) for row in rows):
            raise UserError(f'{where}: the classifications of "{NO_TARGET}" should have a "label".')
        nothing = without_empty([row['label'] for row in rows])
        if nothing:
            objects.append(LabelledObject(where, image, nothing, **common))
    return objects, repairs.sentences()


def _member(node: Mapping, key: str, kind: type, where: str) -> Any:
    """The value of a key, an object or a list; an empty one if it is missing or null."""
    value = node.get(key)
    if value is not None and not isinstance(value, kind):
        raise UserError(f'{where}: "{key}" should be {"an object" if kind is dict else "a list"}.')
    return kind() if value is None else value


def _field_of(samples: Sequence[Mapping], path: Path) -> str:
    """The name of the field with the detections."""
    names = list(
        dict.fromkeys(
            key
            for sample in samples
            for key, value in sample.items()
            if isinstance(value, dict) and value.get('_cls') == 'Detections'
        )
    )
    if ANNOTATIONS in names or not names:
        return ANNOTATIONS
    if len(names) > 1:
        raise UserError(f'{path} has several fields of detections, {", ".join(names)}: name one {ANNOTATIONS}.')
    return names[0]


def _read_detection(detection: Any, one: LabelledObject, repairs: Repairs) -> LabelledObject:
    box = detection.get('bounding_box') if isinstance(detection, dict) else None
    if not is_numbers(box) or len(box) != 4:
        raise UserError(f'{one.where}: "bounding_box" should be four numbers [x, y, width, height] from 0 to 1.')
    label = detection.get('label')
    one.expressions = [label.strip()] if isinstance(label, str) and label.strip() else []
    one.score = detection.get('confidence')
    height, width = one.size
    x, y, across, down = box
    edges = [x * width, y * height, (x + across) * width, (y + down) * height]
    try:
        if detection.get('mask_path'):
            raise UserError('its mask is a file (mask_path): load it into "mask" before the data set is written')
        if detection.get('mask') is not None:
            one.mask = _place(_unpack(detection['mask']), edges, height, width)
            edges = detection.get('own_box') or mask_to_box(one.mask)
            if not is_numbers(edges) or len(edges) != 4:
                raise UserError('"own_box" should be four numbers [x1, y1, x2, y2] in pixels')
        one.box = clip_box(edges, width, height, repairs, 'the box')
    except UserError as error:
        raise UserError(f'{one.where}: {error}.') from None
    return one


def _unpack(value: Any) -> np.ndarray:
    """The array that FiftyOne wrote: NumPy's file format, compressed, in base 64."""
    try:
        text = value['$binary']['base64'] if isinstance(value, dict) else value
        array = np.load(io.BytesIO(zlib.decompress(base64.b64decode(text))), allow_pickle=False)
    except (KeyError, TypeError, ValueError, zlib.error, EOFError, OSError):
        raise UserError('"mask" is not an array as FiftyOne writes it') from None
    if array.ndim != 2 or not array.size:
        raise UserError(f'"mask" should have two dimensions, not {list(array.shape)}')
    return array > 0


def _place(part: np.ndarray, edges: Sequence[float], height: int, width: int) -> dict:
    """The mask of the box (xyxy) in the image; a mask of another number of pixels is resized, as FiftyOne draws it."""
    left, top, right, bottom = (round(edge) for edge in edges)
    across, down = max(right - left, 1), max(bottom - top, 1)
    if left < 0 or top < 0 or left + across > width or top + down > height:
        raise UserError(f'the box of the mask reaches outside the image of {width}x{height} pixels')
    if part.shape != (down, across):
        part = resize_nearest(part, down, across, like='opencv')
    mask = np.zeros((height, width), bool)
    mask[top : top + down, left : left + across] = part
    if not mask.any():
        raise UserError('the mask is empty')
    return encode_mask(mask)


def write_fiftyone(objects: Sequence[LabelledObject], predictions: bool, name: str) -> str:
    """The objects as the text of a file: in the field ``ground_truth``, or in ``predictions`` with their confidence.

    Args:
        objects: The objects.
        predictions: Which of both they are.
        name: Name of the data set.
    """
    field = PREDICTIONS if predictions else ANNOTATIONS
    samples = []
    for group in by_image(objects):
        sample: dict[str, Any] = dict(filepath=group[0].image, tags=[] if group[0].split is None else [group[0].split])
        if group[0].width and group[0].height:
            sample['metadata'] = dict(_cls='ImageMetadata', width=group[0].width, height=group[0].height)
        found = [one for one in group if not one.no_target]
        detections = [row for number, one in enumerate(found) for row in _detections(one, number)]
        sample[field] = dict(_cls='Detections', detections=detections)
        nothing = [text for one in group if one.no_target for text in one.expressions]
        if nothing:
            rows = [dict(_cls='Classification', label=text) for text in nothing]
            sample[NO_TARGET] = dict(_cls='Classifications', classifications=rows)
        samples.append(sample)
    fields = {field: EMBEDDED.format('labels.Detections'), NO_TARGET: EMBEDDED.format('labels.Classifications')}
    content = dict(name=name, media_type='image', sample_fields=fields, samples=samples)
    return json.dumps(content, ensure_ascii=False, indent=1) + '\n'


def _detections(one: LabelledObject, number: int) -> list[dict]:
    height, width = one.size
    row: dict[str, Any] = dict(_cls='Detection', ref_id=number)
    edges = one.box
    if one.mask is not None:
        mask = decode_mask(one.mask, height, width)
        around = tight_box(mask)
        if around is None:
            raise UserError(f'{one.where}: its mask covers no pixel, which FiftyOne cannot hold.')
        left, top, right, bottom = map(int, around)
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(mask[top:bottom, left:right]), allow_pickle=False)
        packed = base64.b64encode(zlib.compress(buffer.getvalue())).decode('ascii')
        row['mask'] = {'$binary': dict(base64=packed, subType='00')}
        if one.box is not None and one.box != around:
            row['own_box'] = one.box
        edges = around
    assert edges is not None
    x1, y1, x2, y2 = edges
    row['bounding_box'] = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
    if one.score is not None:
        row['confidence'] = one.score
    return [dict(row, label=text) for text in one.expressions]

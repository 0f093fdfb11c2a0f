"""CVAT: the XML of "CVAT for images 1.1", with boxes, polygons and masks, and their text attribute ``expression``.

Shapes of an image with the same group id, other than 0, are one object: a box and its mask, or the parts of a mask. The
attribute has an expression a line. A tag ``no_target`` of the image has the expressions that match nothing in it.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmuniqrnet.datasets.objects import Repairs, clip_box, is_numbers
from mmuniqrnet.structures.masks import decode_mask, encode_mask, is_polygon, tight_box
from mmuniqrnet.utils.errors import UserError, first_line

from .records import (
    EXPRESSION,
    LABEL,
    NO_TARGET,
    LabelledObject,
    by_image,
    check_size,
    join_shapes,
    size_of,
    without_empty,
)

SHAPES = ('box', 'polygon', 'mask')
UNREADABLE = ('polyline', 'points', 'cuboid', 'ellipse', 'skeleton')


def read_cvat(path: Path) -> tuple[list[LabelledObject], list[str]]:
    """The objects of a file, and notes on what was changed.

    Raises:
        UserError: It is not such a file, or a shape cannot be read.
    """
    root = _parse(path)
    objects, repairs = [], Repairs()
    for image in root.iter('image'):
        name = image.get('name')
        if not name:
            raise UserError(f'{path}: image {image.get("id")} has no name.')
        where = f'{path}, image {name}'
        width, height = (_number(image, key, where, whole=True) for key in ('width', 'height'))
        check_size(int(width), int(height), where)
        split = image.get('subset')
        groups: dict[str, list[ET.Element]] = {}
        for number, shape in enumerate(image):
            if shape.tag in UNREADABLE:
                raise UserError(f'{where}: shape {number} is a {shape.tag}: boxes, polygons and masks are read.')
            if shape.tag == 'tag' and shape.get('label') == NO_TARGET:
                objects.append(LabelledObject(where, name, _texts(shape), split=split))
            elif shape.tag in SHAPES:
                group = shape.get('group_id', '0')
                groups.setdefault(f'shape {number}' if group == '0' else f'group {group}', []).append(shape)
        for label, shapes in groups.items():
            one = _join(shapes, f'{where}, {label}', int(height), int(width), repairs)
            one.image, one.split = name, split
            objects.append(one)
    return objects, repairs.sentences()


def _parse(path: Path) -> ET.Element:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror}).') from None
    if data.startswith(b'PK'):
        raise UserError(f'{path} is an archive: unpack it, and give its annotations.xml.')
    try:
        root = ET.fromstring(data)
    except ET.ParseError as error:
        raise UserError(f'{path} is not XML ({first_line(error)}).') from None
    if root.tag != 'annotations' or root.find('track') is not None:
        raise UserError(f'{path} is not of the format "CVAT for images 1.1": export the task in that format.')
    return root


def _join(shapes: Sequence[ET.Element], where: str, height: int, width: int, repairs: Repairs) -> LabelledObject:
    found: dict[str, list] = {kind: [] for kind in SHAPES}
    try:
        for shape in shapes:
            found[shape.tag].append(_read_shape(shape, where, height, width, repairs))
        box, mask = join_shapes(found['box'], found['polygon'], found['mask'], height, width)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(where) else f'{where}: {text}.') from None
    texts = list(dict.fromkeys(text for shape in shapes for text in _texts(shape)))
    return LabelledObject(where, '', texts, box, mask, width, height)


def _read_shape(shape: ET.Element, where: str, height: int, width: int, repairs: Repairs) -> list[float] | dict:
    if 'rotation' in shape.attrib and _number(shape, 'rotation', where):
        raise UserError('it is rotated: only upright shapes are read')
    if shape.tag == 'box':
        edges = [_number(shape, key, where) for key in ('xtl', 'ytl', 'xbr', 'ybr')]
        return clip_box(edges, width, height, repairs, 'the box')
    if shape.tag == 'polygon':
        try:
            polygon = [float(side) for point in shape.get('points', '').split(';') for side in point.split(',')]
        except ValueError:
            polygon = []
        if not is_polygon(polygon):
            raise UserError(f'"points" should be "x,y;x,y;x,y", three points or more, not {shape.get("points")!r:.60}')
        return polygon
    left, top, across, down = (
        int(_number(shape, key, where, whole=True)) for key in ('left', 'top', 'width', 'height')
    )
    try:
        runs = np.array([int(run) for run in shape.get('rle', '').split(',')])
    except ValueError:
        runs = np.array([-1])
    if (runs < 0).any() or runs.sum() != across * down:
        raise UserError(f'"rle" should be numbers of pixels that add up to {across}x{down}')
    if left < 0 or top < 0 or left + across > width or top + down > height:
        raise UserError(f'the mask reaches outside the image of {width}x{height} pixels')
    mask = np.zeros((height, width), bool)
    mask[top : top + down, left : left + across] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(down, across)
    if not mask.any():
        raise UserError('the mask is empty')
    return encode_mask(mask)


def _number(element: ET.Element, key: str, where: str, whole: bool = False) -> float:
    try:
        value = float(element.get(key, ''))
    except ValueError:
        value = float('nan')
    if not is_numbers([value]) or (whole and value % 1):
        raise UserError(f'{where}: "{key}" of <{element.tag}> should be a number, not {element.get(key)!r}.')
    return value


def _texts(shape: ET.Element) -> list[str]:
    for attribute in shape.iter('attribute'):
        if attribute.get('name') == EXPRESSION:
            return without_empty((attribute.text or '').split('\n'))  # the XML parser has turned \r\n into \n
    return []


def write_cvat(objects: Sequence[LabelledObject], predictions: bool) -> str:
    """The objects as the text of a file; the shapes of predictions are marked ``source="auto"``."""
    root = ET.Element('annotations')
    ET.SubElement(root, 'version').text = '1.1'
    groups = by_image(objects)
    _write_meta(root, len(groups))
    source = 'auto' if predictions else 'manual'
    for number, group in enumerate(groups):
        height, width = size_of(group)
        image = ET.SubElement(root, 'image', id=str(number), name=group[0].image, width=str(width), height=str(height))
        if group[0].split is not None:
            image.set('subset', group[0].split)
        for index, one in enumerate(group, 1):
            _write_object(image, one, str(index), source)
    ET.indent(root, ' ')
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding='unicode') + '\n'


def _write_meta(root: ET.Element, images: int) -> None:
    """What a task for these shapes has: its labels and their text attribute."""
    task = ET.SubElement(ET.SubElement(root, 'meta'), 'task')
    for key, value in dict(name='mmuniqrnet', size=str(images), mode='annotation').items():
        ET.SubElement(task, key).text = value
    labels = ET.SubElement(task, 'labels')
    for name, kind in ((LABEL, 'any'), (NO_TARGET, 'tag')):
        label = ET.SubElement(labels, 'label')
        ET.SubElement(label, 'name').text = name
        ET.SubElement(label, 'type').text = kind
        attribute = ET.SubElement(ET.SubElement(label, 'attributes'), 'attribute')
        for key, value in dict(
            name=EXPRESSION, mutable='False', input_type='text', default_value='', values=''
        ).items():
            ET.SubElement(attribute, key).text = value


def _write_object(image: ET.Element, one: LabelledObject, group: str, source: str) -> None:
    common = dict(label=LABEL, source=source, occluded='0', z_order='0')
    shapes: list[ET.Element] = []
    if one.no_target:
        shapes.append(ET.SubElement(image, 'tag', label=NO_TARGET, source=source))
    if one.own_box is not None:
        edges = dict(zip(('xtl', 'ytl', 'xbr', 'ybr'), map(repr, map(float, one.own_box))))
        shapes.append(ET.SubElement(image, 'box', common | edges))
    if isinstance(one.mask, list):
        for part in one.mask:
            points = ';'.join(f'{float(x)!r},{float(y)!r}' for x, y in zip(part[::2], part[1::2]))
            shapes.append(ET.SubElement(image, 'polygon', common | dict(points=points)))
    elif one.mask is not None:
        shapes.append(ET.SubElement(image, 'mask', common | _mask(decode_mask(one.mask, *one.size))))
    for shape in shapes if len(shapes) > 1 else ():
        shape.set('group_id', group)
    # Once: a text that two shapes have would have to be corrected twice.
    text = ET.SubElement(shapes[0], 'attribute', name=EXPRESSION)
    text.text = '\n'.join(' '.join(expression.split()) for expression in one.expressions)


def _mask(mask: np.ndarray) -> dict[str, str]:
    """Runs of background and object in turn, row by row, within the box around the mask."""
    box = tight_box(mask)
    assert box is not None
    left, top, right, bottom = map(int, box)
    flat = mask[top:bottom, left:right].ravel()
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    runs = [*([0] if flat[0] else []), *np.diff(edges).tolist()]
    place = dict(left=left, top=top, width=right - left, height=bottom - top)
    return dict(rle=', '.join(map(str, runs))) | {key: str(value) for key, value in place.items()}

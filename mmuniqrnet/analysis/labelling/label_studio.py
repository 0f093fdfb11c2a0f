"""Label Studio: its JSON export, and the JSON that it imports, with annotations or with predictions.

A task is an image, in ``data.image``. A result is a region (``rectanglelabels``, ``polygonlabels`` or ``brushlabels``,
coordinates in per cent of the image), or the text of a region (``textarea`` with the region's id). Regions that are
connected by a relation are one object: a box and its mask, or the parts of a mask.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.datasets.objects import Repairs, clip_box, is_numbers
from mmuniqrnet.structures.masks import decode_mask, encode_mask, is_polygon
from mmuniqrnet.utils.errors import UserError

from .brush_rle import decode_brush, encode_brush
from .records import EXPRESSION, LABEL, NO_TARGET, LabelledObject, by_image, check_size, join_shapes, without_empty

MODEL_VERSION = 'mmuniqrnet'
KINDS = dict(
    rectanglelabels='box', rectangle='box', polygonlabels='polygon', polygon='polygon', brushlabels='mask', brush='mask'
)
UNREADABLE = ('ellipse', 'keypoint', 'bitmask', 'vector', 'video', 'cuboid')
LOCAL_FILES = '/data/local-files/?d='
# The names of the controls in the labelling configuration, as docs/labelling.md gives it.
CONTROLS = dict(box='box', polygon='polygon', mask='mask')


def read_label_studio(path: Path) -> tuple[list[LabelledObject], list[str]]:
    """The objects of an export ("JSON", not "JSON-MIN"), and notes on what was left out.

    Raises:
        UserError: It is not such an export, or a region cannot be read.
    """
    require_file(str(path), 'the file', 'an export of Label Studio in the format JSON')
    tasks = load_json(str(path))
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise UserError(f'{path} should be a list of tasks: export from Label Studio in the format JSON.')
    objects, open_tasks, repairs = [], 0, Repairs()
    for number, task in enumerate(tasks):
        where = f'{path}, task {task.get("id", f"number {number}")}'
        data = task.get('data')
        if not isinstance(data, dict) or not isinstance(data.get('image'), str):
            hint = '; this looks like JSON-MIN: export in the format JSON' if 'image' in task else ''
            raise UserError(f'{where} has no "data" with "image"{hint}.')
        drawn = task.get('annotations')
        if not isinstance(drawn, list) or not all(isinstance(one, dict) for one in drawn):
            raise UserError(f'{where} has no list of "annotations".')
        drawn = [one for one in drawn if not one.get('was_cancelled')]
        if len(drawn) > 1:
            raise UserError(f'{where} has {len(drawn)} annotations: delete all but one in Label Studio.')
        open_tasks += not drawn
        for one in drawn:
            objects += _read_results(one.get('result'), where, data, repairs)
    notes = [f'{open_tasks:,} task(s) without annotation are left out'] if open_tasks else []
    return objects, [*notes, *repairs.sentences()]


def _read_results(results: Any, where: str, data: Mapping, repairs: Repairs) -> list[LabelledObject]:
    """The objects of a task."""
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise UserError(f'{where}: "result" should be a list of objects.')
    image, split = data['image'], data.get('split')
    regions: dict[str, tuple[str, dict]] = {}
    texts: dict[str, list[str]] = {}
    nothing: list[str] = []
    for number, result in enumerate(results):
        kind = str(result.get('type', '')).lower()
        named = f'{where}, result {result.get("id", number)}'
        if kind.startswith(UNREADABLE):
            raise UserError(f'{named} is of type {kind}: boxes, polygons and brush strokes are read.')
        if kind in KINDS:
            if not isinstance(result.get('id'), str) or result['id'] in regions:
                raise UserError(f'{named}: a region should have an "id" of its own.')
            regions[result['id']] = KINDS[kind], result
        elif kind == 'textarea':
            value = result.get('value')
            text = value.get('text') if isinstance(value, dict) else None
            lines = [text] if isinstance(text, str) else text
            if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
                raise UserError(f'{named}: "value.text" should be a text or a list of texts.')
            if result.get('from_name') == NO_TARGET:
                nothing += without_empty(lines)
            else:
                texts.setdefault(str(result.get('id')), []).extend(without_empty(lines))
    for name in texts:
        if name not in regions:
            raise UserError(f'{where}, result {name}: this text belongs to no region (perRegion="true" is needed).')
    objects = []
    for names in _connected(list(regions), results, where):
        found = _join([regions[name] for name in names], f'{where}, region {names[0]}', repairs)
        found.image, found.split = image, split
        found.expressions = list(dict.fromkeys(text for name in names for text in texts.get(name, [])))
        objects.append(found)
    if nothing:
        objects.append(LabelledObject(where, image, nothing, split=split))
    return objects


def _connected(names: list[str], results: Sequence[Mapping], where: str) -> list[list[str]]:
    """The regions in groups: those that relations connect are one."""
    group = {name: [name] for name in names}
    for result in results:
        if str(result.get('type', '')).lower() != 'relation':
            continue
        ends = result.get('from_id'), result.get('to_id')
        if any(not isinstance(end, str) or end not in group for end in ends):
            raise UserError(f'{where}: a relation connects {ends[0]} and {ends[1]}, which are not both regions.')
        first, second = group[ends[0]], group[ends[1]]  # type: ignore[index]
        if first is not second:
            first.extend(second)
            group.update(dict.fromkeys(second, first))
    return list({id(members): members for members in group.values()}.values())


def _join(regions: Sequence[tuple[str, dict]], where: str, repairs: Repairs) -> LabelledObject:
    shapes: dict[str, list] = dict(box=[], polygon=[], mask=[])
    size = None
    for kind, result in regions:
        width, height = result.get('original_width'), result.get('original_height')
        if not isinstance(width, int) or not isinstance(height, int):
            raise UserError(f'{where}: "original_width" and "original_height" should be the size of the image.')
        check_size(width, height, where)
        if size not in (None, (height, width)):
            raise UserError(f'{where}: its parts name different sizes of the image.')
        size = height, width
        value = result.get('value')
        if not isinstance(value, dict) or result.get('image_rotation') or value.get('rotation'):
            raise UserError(f'{where} has no "value", or is rotated: only upright regions are read.')
        try:
            shapes[kind].append(_read_shape(kind, value, height, width, repairs))
        except UserError as error:
            raise UserError(f'{where}: {error}.') from None
    assert size is not None
    try:
        box, mask = join_shapes(shapes['box'], shapes['polygon'], shapes['mask'], *size)
    except UserError as error:
        raise UserError(f'{where}: {error}.') from None
    return LabelledObject(where, '', box=box, mask=mask, height=size[0], width=size[1])


def _read_shape(kind: str, value: Mapping, height: int, width: int, repairs: Repairs) -> list[float] | dict:
    if kind == 'box':
        sides = [value.get(key) for key in ('x', 'y', 'width', 'height')]
        if not is_numbers(sides):
            raise UserError('"x", "y", "width" and "height" should be numbers, in per cent')
        x, y, across, down = sides
        edges = [x * width / 100, y * height / 100, (x + across) * width / 100, (y + down) * height / 100]
        return clip_box(edges, width, height, repairs, 'the box')
    if kind == 'polygon':
        points = value.get('points')
        if not isinstance(points, list) or not all(is_numbers(point) and len(point) == 2 for point in points):
            raise UserError('"points" should be a list of [x, y], in per cent')
        polygon = [side for x, y in points for side in (x * width / 100, y * height / 100)]
        if not is_polygon(polygon):
            raise UserError('a polygon should have three points or more')
        return polygon
    mask = decode_brush(value.get('rle'), height, width)  # type: ignore[arg-type]
    if not mask.any():
        raise UserError('the brush strokes cover no pixel')
    return encode_mask(mask)


def write_label_studio(objects: Sequence[LabelledObject], predictions: bool) -> str:
    """The objects as tasks to import: as annotations, or as predictions, which are shown for correction."""
    tasks = []
    for group in by_image(objects):
        data: dict[str, Any] = dict(image=group[0].image)
        if group[0].split is not None:
            data['split'] = group[0].split
        results: list[dict] = []
        for number, one in enumerate(group):
            results += _results(one, f'object{number}')
        if predictions:
            scores = [one.score for one in group if one.score is not None]
            found: dict[str, Any] = dict(model_version=MODEL_VERSION, result=results)
            if scores:
                found['score'] = sum(scores) / len(scores)
            tasks.append(dict(data=data, predictions=[found]))
        else:
            tasks.append(dict(data=data, annotations=[dict(result=results)]))
    return json.dumps(tasks, ensure_ascii=False, indent=1) + '\n'


def _results(one: LabelledObject, name: str) -> list[dict]:
    """The results of an object: its regions, its text, and the relations between the regions."""
    if one.no_target:
        return [dict(id=name, type='textarea', from_name=NO_TARGET, to_name='image', value=dict(text=one.expressions))]
    height, width = one.size
    common: dict[str, Any] = dict(to_name='image', original_width=width, original_height=height, image_rotation=0)
    shapes: list[tuple[str, dict]] = []
    if one.own_box is not None:
        x1, y1, x2, y2 = one.own_box
        sides = dict(x=x1 / width, y=y1 / height, width=(x2 - x1) / width, height=(y2 - y1) / height)
        shapes.append(('box', {key: 100 * side for key, side in sides.items()} | dict(rotation=0)))
    if isinstance(one.mask, list):
        for part in one.mask:
            points = [[100 * x / width, 100 * y / height] for x, y in zip(part[::2], part[1::2])]
            shapes.append(('polygon', dict(points=points, closed=True)))
    elif one.mask is not None:
        shapes.append(('mask', dict(format='rle', rle=encode_brush(decode_mask(one.mask, height, width)))))
    results = []
    for number, (kind, value) in enumerate(shapes):
        label = dict(box='rectanglelabels', polygon='polygonlabels', mask='brushlabels')[kind]
        region = dict(
            common, id=f'{name}-{number}', type=label, from_name=CONTROLS[kind], value=value | {label: [LABEL]}
        )
        if one.score is not None:
            region['score'] = one.score
        results.append(region)
    first = results[0]
    shape = {key: value for key, value in first['value'].items() if not key.endswith('labels')}
    text = dict(common, id=first['id'], type='textarea', from_name=EXPRESSION)
    results.insert(1, dict(text, value=shape | dict(text=one.expressions)))
    relations = [
        dict(type='relation', from_id=first['id'], to_id=other['id'], direction='right') for other in results[2:]
    ]
    return results + relations

"""Predictions, to be written as pre-annotations: of any system (``mmuniqrnet score``), or of ``mmuniqrnet ground``."""

import json
from pathlib import Path
from typing import Any

from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.evaluation.predictions_file import IDS, Predictions
from mmuniqrnet.structures.answers import best_index
from mmuniqrnet.structures.box_formats import Layout, Units
from mmuniqrnet.structures.masks import encode_mask, mask_area
from mmuniqrnet.utils.errors import UserError

from .records import LabelledObject, check_size


def read_predictions(
    path: Path, questions: str, layout: Layout = 'xyxy', units: Units = 'pixels'
) -> tuple[list[LabelledObject], list[str]]:
    """The best answer to each expression of a predictions file, and notes on what was left out.

    Args:
        path: The file that ``mmuniqrnet score`` evaluates.
        questions: The file that ``mmuniqrnet score --questions`` wrote for the same data.
        layout: Order of the numbers of a box.
        units: Units of boxes and polygons.

    Raises:
        UserError: A file is not as described, or they do not belong together.
    """
    items = _read_questions(questions)
    predictions = Predictions(path, layout, units)
    objects, nothing = [], 0
    for item, line in zip(items, predictions.match(items)):
        one = LabelledObject(f'{path}, expression {item["sent_id"]}', item['img_path'], [item['text']])
        one.height, one.width = item['height'], item['width']
        if line is None or not (line.boxes or line.masks):
            nothing += 1
            continue
        found = predictions.instances(line, *one.size, targets=1)
        best = best_index(found.get('scores'))
        one.score = float(found['scores'][best]) if 'scores' in found else None
        if line.boxes:
            one.box = found['bboxes'][best].tolist()
        if line.masks and found['masks'][best].any():
            one.mask = encode_mask(found['masks'][best])
        if one.no_target:
            nothing += 1
        else:
            objects.append(one)
    notes = [f'{nothing:,} expression(s) without box and mask are left out'] if nothing else []
    return objects, [*notes, *predictions.doubts()]


def _read_questions(path: str) -> list[dict[str, Any]]:
    require_file(path, '--questions', 'the expressions, which mmuniqrnet score --questions writes')
    items = []
    try:
        # Only at "\n": expressions may contain the other characters that splitlines() takes for ends of lines.
        lines = Path(path).read_text(encoding='utf-8-sig').split('\n')
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path} cannot be read as text in UTF-8 ({error}).') from None
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            item = json.loads(text)
        except ValueError:
            item = None
        if not isinstance(item, dict) or any(key not in item for key in (*IDS, 'img_path', 'text', 'height', 'width')):
            raise UserError(f'{path}, line {number}: this is no line that mmuniqrnet score --questions writes.')
        check_size(item['width'], item['height'], f'{path}, line {number}')
        items.append(item)
    if not items:
        raise UserError(f'{path} has no lines.')
    return items


def read_answers(path: Path) -> tuple[list[LabelledObject], list[str]]:
    """The answers in ``predictions.json``, which the inferencer writes, and notes on what was left out.

    Raises:
        UserError: It is not such a file.
    """
    require_file(str(path), 'the file', 'predictions.json of mmuniqrnet ground --out')
    content = load_json(str(path))
    answers = content.get('predictions') if isinstance(content, dict) else None
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        raise UserError(f'{path} should be a JSON object with "predictions", as mmuniqrnet ground --out writes it.')
    objects, left = [], 0
    for number, answer in enumerate(answers):
        where = f'{path}, answer {number}'
        if not isinstance(answer.get('image'), str) or not isinstance(answer.get('expression'), str):
            raise UserError(f'{where} has no path of an image ("image"), or no "expression".')
        mask = answer.get('mask')
        try:
            mask = mask if isinstance(mask, dict) and mask_area(mask) else None
        except UserError as error:
            raise UserError(f'{where}: {error}.') from None
        if 'error' in answer or (answer.get('box') is None and mask is None):
            left += 1
            continue
        size = answer.get('size')
        if not isinstance(size, list) or len(size) != 2:
            raise UserError(f'{where}: "size" should be the height and width of the image, not {size!r:.60}.')
        height, width = size
        check_size(width, height, where)
        one = LabelledObject(where, answer['image'], [answer['expression']], answer.get('box'), mask, width, height)
        one.score, one.upright = answer.get('score'), answer.get('frame') == 'upright'
        objects.append(one)
    return objects, [f'{left:,} answer(s) without box and mask are left out'] if left else []

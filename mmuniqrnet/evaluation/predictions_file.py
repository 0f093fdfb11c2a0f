"""The predictions of any system as JSON Lines: one line for each expression, found by its ids."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmuniqrnet.structures.box_formats import Layout, Units, polygons_to_pixels, to_xyxy_pixels
from mmuniqrnet.structures.mask_files import read_mask_file
from mmuniqrnet.structures.masks import decode_mask, is_polygon
from mmuniqrnet.utils.errors import MissingFileError, UserError

IDS = ('dataset', 'split', 'sent_id')
PARTS = {'box': 'boxes', 'mask': 'masks', 'score': 'scores'}
# A box may end a little outside of the image; much farther it is probably in other units.
SLACK = 0.05


@dataclass(frozen=True)
class Line:
    """What a system found for one expression.

    Attributes:
        where: File and line, for messages.
        boxes: A list of boxes as written; None if the line has none of the keys.
        masks: A list of masks as written (RLE, polygons, or the path of a mask file), likewise.
        scores: A list of scores, likewise.
    """

    where: str
    boxes: list | None
    masks: list | None
    scores: list | None


class Predictions:
    """A predictions file, read whole and checked.

    A line is a JSON object with ``sent_id``, with ``dataset`` and ``split`` if the data has several sets, and with the
    answer: ``box``, ``mask``, ``score``, each one value or null (nothing was found), or ``boxes``, ``masks``,
    ``scores``, lists of the same length of which the answer with the highest score counts. Other keys are ignored.
    A mask is an RLE of COCO, a list of polygons, or the path of a mask file relative to the predictions file.

    Args:
        path: The file.
        layout: Order of the numbers of a box; see :func:`~mmuniqrnet.structures.box_formats.to_xyxy_pixels`.
        units: Units of boxes and polygons, likewise.

    Raises:
        MissingFileError: There is no such file.
        UserError: A line is not as described, two lines are about the same expression, or no line has an answer.
    """

    def __init__(self, path: str | Path, layout: Layout = 'xyxy', units: Units = 'pixels') -> None:
        self.path, self.layout, self.units = Path(path), layout, units
        if not self.path.is_file():
            raise MissingFileError(f'the predictions file {path} does not exist.')
        self._lines: dict[tuple[str, str, str], Line] = {}
        #: Number of boxes so far, and how many of them end outside of their image or lie within 0..1.
        self.seen: Counter[str] = Counter()
        try:
            lines = self.path.read_text(encoding='utf-8-sig').split('\n')
        except UnicodeDecodeError as error:
            raise UserError(f'{self.path} is not UTF-8 text ({error.reason} at byte {error.start}).') from None
        for number, text in enumerate(lines, 1):
            if text.strip():
                self._add(text, f'{self.path}, line {number}')
        self.has_boxes = any(line.boxes is not None for line in self._lines.values())
        self.has_masks = any(line.masks is not None for line in self._lines.values())
        if not self.has_boxes and not self.has_masks:
            raise UserError(f'{self.path} has no box and no mask: a line needs "box" or "mask" (or "boxes", "masks").')

    def _add(self, text: str, where: str) -> None:
        try:
            row = json.loads(text)
        except ValueError as error:
            raise UserError(f'{where}: this is not JSON ({error}).') from None
        if not isinstance(row, dict) or 'sent_id' not in row:
            raise UserError(f'{where}: a line must be a JSON object with "sent_id".')
        dataset, split, sent_id = ('' if row.get(name) is None else str(row[name]) for name in IDS)
        key = dataset, split, sent_id
        if key in self._lines:
            raise UserError(f'{where}: expression {_named(key)} has an answer already, in {self._lines[key].where}.')
        parts = {plural: _part(row, one, plural, where) for one, plural in PARTS.items()}
        counts = {len(part) for part in parts.values() if part is not None}
        if parts['boxes'] == [] or parts['masks'] == []:
            counts.discard(len(parts['scores'] or ()))  # the score of an answer that found nothing
        if len(counts) > 1:
            raise UserError(
                f'{where}: boxes, masks and scores must be of one number, not '
                f'{ ({name: len(part) for name, part in parts.items() if part is not None}) }.'
            )
        self._lines[key] = Line(where, **parts)

    def match(self, items: Iterable[Mapping[str, Any]]) -> list[Line | None]:
        """The line of each expression, None where the file has none.

        Args:
            items: Data items with ``dataset``, ``split`` and ``sent_id``.

        Raises:
            UserError: A line is about no expression of the data, or several sets have its ``sent_id`` and the line
                names none of them.
        """
        keys = [tuple(str(item[name]) for name in IDS) for item in items]
        sets = Counter(key[2] for key in set(keys))
        used, found = set(), []
        for key in keys:
            fitting = [short for short in (key, ('', key[1], key[2]), ('', '', key[2])) if short in self._lines]
            if fitting and fitting[0] != key and sets[key[2]] > 1:
                raise UserError(
                    f'{self._lines[fitting[0]].where}: several sets have an expression {key[2]}: add "dataset" and '
                    '"split" to the line.'
                )
            used.update(fitting[:1])
            found.append(self._lines[fitting[0]] if fitting else None)
        strange = [key for key in self._lines if key not in used]
        if strange:
            more = f', and {len(strange) - 1} more lines are about none' if len(strange) > 1 else ''
            raise UserError(
                f'{self._lines[strange[0]].where}: the data has no expression {_named(strange[0])}{more}; it has '
                f'{", ".join(sorted({"/".join(key[:2]) for key in keys}))}, such as {_named(keys[0])}.'
            )
        return found

    def instances(self, line: Line | None, height: int, width: int, targets: int) -> dict[str, np.ndarray]:
        """``pred_instances`` as ReferringMetric reads them: ``bboxes`` xyxy and ``masks``, in original pixels.

        A missing line, and a part that a line lacks though others have it, count as wrong: nothing was found if there
        is a target, and the whole image if there is none.

        Raises:
            UserError: A box or mask of the line cannot be read.
        """
        wrong = 0 if targets else 1
        fields: dict[str, np.ndarray] = {}
        if line is None:
            line = Line('', None, None, None)
        try:
            boxes = None if line.boxes is None else [self._box(box, height, width) for box in line.boxes]
            masks = None if line.masks is None else [self._mask(mask, height, width) for mask in line.masks]
            scores = None if line.scores is None else [_score(score) for score in line.scores]
        except UserError as error:
            raise UserError(f'{line.where}: {error}') from None
        count = max((len(part) for part in (boxes, masks) if part is not None), default=wrong)
        if self.has_boxes:
            lacking = [[0.0, 0.0, 0.0, 0.0]] if targets else [[0.0, 0.0, float(width), float(height)]]
            fields['bboxes'] = np.array(boxes if boxes is not None else lacking * count, np.float64).reshape(-1, 4)
        if self.has_masks:
            lacking_mask = np.full((count, height, width), not targets)
            fields['masks'] = lacking_mask if masks is None else np.array(masks, bool).reshape(-1, height, width)
        if scores is not None and count == len(scores):
            fields['scores'] = np.array(scores)
        return fields

    def _box(self, box: Any, height: int, width: int) -> list[float]:
        found = to_xyxy_pixels(box, width, height, self.layout, self.units)
        reach = np.array(found) / [width, height, width, height]
        self.seen['boxes'] += 1
        self.seen['outside'] += bool((reach < -SLACK).any() or (reach > 1 + SLACK).any())
        self.seen['within one pixel'] += bool(max(found) <= 1 and max(height, width) > 2)
        return found

    def _mask(self, mask: Any, height: int, width: int) -> np.ndarray:
        if isinstance(mask, str):
            path = self.path.parent / mask
            mask = read_mask_file(str(path), height, width)
        elif isinstance(mask, list) and self.units != 'pixels' and mask and all(map(is_polygon, mask)):
            mask = polygons_to_pixels(mask, width, height, self.units)
        return decode_mask(mask, height, width)

    def doubts(self) -> list[str]:
        """Sentences on boxes that look as if they were in other units; after ``instances`` of all lines."""
        boxes, found = self.seen['boxes'], []
        if boxes and self.seen['within one pixel'] == boxes:
            found.append('all boxes lie within one pixel: are they fractions of the image (units "fraction")?')
        if self.seen['outside']:
            found.append(
                f'{self.seen["outside"]} of {boxes} boxes end outside of their image by more than '
                f'{100 * SLACK:.0f} % of its size: are layout ({self.layout}) and units ({self.units}) right?'
            )
        return found


def _part(row: Mapping[str, Any], one: str, plural: str, where: str) -> list | None:
    """The values of ``one`` or of ``plural`` as a list; null is no value, and None means that neither key is there."""
    if one in row and plural in row:
        raise UserError(f'{where}: "{one}" and "{plural}" are both there: leave one of them out.')
    if plural in row:
        if not isinstance(row[plural], list):
            raise UserError(f'{where}: "{plural}" must be a list, not {str(row[plural])[:80]}.')
        return row[plural]
    if one not in row:
        return None
    return [] if row[one] is None else [row[one]]


def _score(score: Any) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float) or not np.isfinite(score):
        raise UserError(f'a score must be a finite number, not {score!r}')
    return float(score)


def _named(key: Sequence[str]) -> str:
    return '/'.join(part for part in key if part)

"""Validation of a custom data file: errors, and notes on what may be an error."""

import json
import os
from typing import Any, NamedTuple

from mmuniqrnet.structures.overlap import box_iou

from .jsonl_parser import LineReader, read_jsonl

# Boxes of objects that are partly hidden may be larger than their masks.
SIMILAR_BOXES = 0.5
# A whole file may have boxes of another format.
SHOWN_BOXES = 5


class Problem(NamedTuple):
    """What is wrong with a line of the file (counted from 1)."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f'line {self.line}: {self.reason}'


class Findings(NamedTuple):
    """What was found in a JSON Lines file.

    Attributes:
        records: Number and record of each good line; see :class:`LineReader`.
        problems: What is wrong; a file with problems is not read.
        notes: What may be wrong, and which changes are made when the file is read.
    """

    records: list[tuple[int, dict]]
    problems: list[Problem]
    notes: list[str]


def validate_jsonl(
    path: str, images_root: str = '', masks_root: str | None = None, open_images: bool = True
) -> list[Problem]:
    """All problems of a JSON Lines file, in the order of its lines; an empty list if it can be used.

    Args:
        path: The file.
        images_root: Folder that ``image`` is relative to.
        masks_root: Folder that a ``mask`` given as a path is relative to; by default ``images_root``.
        open_images: Decode all images and masks, and check boxes and masks against their sizes.
    """
    return read_and_validate(path, images_root, masks_root, open_images, whole=open_images).problems


def read_and_validate(path: str, images_root: str, masks_root: str | None, open_images: bool, whole: bool) -> Findings:
    """The good lines, all problems and notes; see :func:`validate_jsonl` and :class:`LineReader`."""
    reader = LineReader(images_root, images_root if masks_root is None else masks_root, open_images, whole)
    records, problems = [], []
    for number, record, reasons in read_jsonl(path, reader):
        problems += [Problem(number, reason) for reason in reasons]
        if not reasons:
            records.append((number, record))
    if any(record['split'] for _, record in records):
        problems += [
            Problem(number, '"split" is missing, but other lines have it')
            for number, record in records
            if not record['split']
        ]
    if not records and not problems:
        problems.append(Problem(1, 'the file has no lines'))
    notes = [*reader.repairs.sentences(), *_turned_photographs(records), *_shared_expressions(records)]
    return Findings(records, sorted(problems, key=lambda problem: problem.line), notes)


def _turned_photographs(records: list[tuple[int, dict]]) -> list[str]:
    """A sentence for each photograph whose EXIF orientation is not 1."""
    notes: dict[str, str] = {}
    for number, record in records:
        if record['orientation'] != 1:
            width, height = record['size']
            path = record['image_path']
            notes.setdefault(
                path,
                f'line {number}: {path} has EXIF orientation {record["orientation"]}, so viewers show it turned; boxes '
                f'and masks must refer to the stored pixels ({width}x{height})',
            )
    return list(notes.values())


def different_boxes(records: list[tuple[int, dict]]) -> list[str]:
    """A sentence for each of the first lines whose box hardly overlaps its mask's, and one for the others."""
    pairs = [
        (number, record['instance']['bbox'], record['mask_box']) for number, record in records if record['mask_box']
    ]
    notes = [
        f'line {number}: "bbox" {box} and "mask", whose box is {around}, differ (IoU {iou:.2f}); "bbox" should be '
        '[x1, y1, x2, y2]: is it x, y, width, height?'
        for number, box, around in pairs
        if (iou := float(box_iou(box, around))) < SIMILAR_BOXES
    ]
    rest = len(notes) - SHOWN_BOXES
    return [*notes[:SHOWN_BOXES], *([f'{rest:,} more line(s) whose "bbox" and "mask" differ'] if rest > 0 else [])]


def _shared_expressions(records: list[tuple[int, dict]]) -> list[str]:
    """A sentence for each expression that two objects of one image share, ignoring case and white space."""
    first: dict[tuple, tuple[int, Any]] = {}
    notes = []
    for number, record in records:
        image = os.path.normpath(record['image'])
        target = None if record['instance'] is None else json.dumps(record['instance'], sort_keys=True, default=str)
        for text in dict.fromkeys(' '.join(text.casefold().split()) for text in record['expressions']):
            line, other = first.setdefault((record['split'], image, text), (number, target))
            if other != target:
                notes.append(
                    f'line {number}: the expression "{text}" is given to another object of {record["image"]} in line '
                    f'{line}, so which one it means is not clear'
                )
    return notes

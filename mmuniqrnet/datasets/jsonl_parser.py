"""Reading and checking custom data: JSON Lines, one object of one image a line."""

import json
import math
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from PIL import Image

from mmuniqrnet.structures.masks import MASK_MODES, decode_mask, is_polygon, mask_to_box, read_mask_file

from .annotation_files import require_file

KEYS = ('image', 'expressions', 'bbox', 'mask', 'no_target', 'split', 'width', 'height')
# Boxes written with rounded decimals may end a hair outside; a pixel outside is a mistake.
TOLERANCE = 0.01


class Problem(NamedTuple):
    """What is wrong with a line of the file (counted from 1)."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f'line {self.line}: {self.reason}'


class _Bad(Exception):
    """One problem of the line being read."""


@lru_cache(maxsize=1024)
def _header(path: str) -> tuple[tuple[int, int], str]:
    """(width, height) and mode."""
    # Pillow does not rotate by EXIF: annotations refer to the stored pixels.
    try:
        with Image.open(path) as image:
            return image.size, image.mode
    except FileNotFoundError:
        raise _Bad(f'the image {path} does not exist') from None
    except OSError as error:
        raise _Bad(f'{path} is not a readable image ({error})') from None


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in value
    )


def _is_whole(value: Any, minimum: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def _check_expressions(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise _Bad('"expressions" should be a string or a list of at least one string')
    if not all(text.strip() for text in texts):
        raise _Bad('"expressions" has an empty expression')
    return [text.strip() for text in texts]


def _check_size(record: dict, image_path: str, open_image: bool) -> tuple[int, int] | None:
    """(width, height), from the image, or else from the line."""
    given = [record[key] for key in ('width', 'height') if key in record]
    if len(given) == 1 or not all(_is_whole(side, 1) for side in given):
        raise _Bad('"width" and "height" should both be given, as positive whole numbers, or neither')
    if not open_image:
        return tuple(given) or None
    size, _ = _header(image_path)
    if given and tuple(given) != size:
        raise _Bad(f'"width" and "height" are {given[0]}x{given[1]}, but the image has {size[0]}x{size[1]} pixels')
    return size


def _check_box(box: list[float], size: tuple[int, int] | None, what: str = '"bbox"') -> list[float]:
    if not _is_numbers(box) or len(box) != 4:
        raise _Bad(f'{what} should be four numbers [x1, y1, x2, y2] in pixels')
    x1, y1, x2, y2 = map(float, box)
    if x2 <= x1 or y2 <= y1:
        raise _Bad(f'{what} {box} has no area: it should be [x1, y1, x2, y2] with x1 < x2 and y1 < y2')
    right, bottom = size or (math.inf, math.inf)
    if min(x1, y1) < -TOLERANCE or x2 > right + TOLERANCE or y2 > bottom + TOLERANCE:
        raise _Bad(f'{what} {box} reaches outside the image' + (f' of {right}x{bottom} pixels' if size else ''))
    return [x1, y1, x2, y2]


def _check_polygons(mask: list, size: tuple[int, int] | None) -> list:
    if not mask or not all(_is_numbers(part) and is_polygon(part) for part in mask):
        raise _Bad('"mask" as polygons should be a list of lists [x1, y1, x2, y2, x3, y3, ...], three points or more')
    _check_box(mask_to_box(mask), size, 'the extent of "mask"')
    return mask


def _check_rle(mask: dict, size: tuple[int, int] | None) -> dict:
    counts, rle_size = mask.get('counts'), mask.get('size')
    if not (isinstance(rle_size, list) and len(rle_size) == 2 and all(_is_whole(side, 1) for side in rle_size)):
        raise _Bad('"mask" as RLE should have "size", [height, width] in pixels')
    if not (isinstance(counts, str) or (isinstance(counts, list) and all(map(_is_whole, counts)))):
        raise _Bad('"mask" as RLE should have "counts", a string or a list of whole numbers')
    if size is not None and tuple(rle_size) != size[::-1]:
        raise _Bad(f'"mask" is of size {rle_size} (height, width), but the image has {size[1]}x{size[0]}')
    if isinstance(counts, list) and sum(counts) != rle_size[0] * rle_size[1]:
        raise _Bad(f'the "counts" of "mask" add up to {sum(counts)} pixels, not to {rle_size[0]}x{rle_size[1]}')
    try:
        empty = not decode_mask(mask, *rle_size).any()
    except (ValueError, TypeError) as error:
        raise _Bad(f'"mask" is not a valid RLE ({error})') from None
    if empty:
        raise _Bad('"mask" is empty')
    return mask


def _check_mask_file(path: str, size: tuple[int, int] | None, whole: bool) -> list[float] | None:
    """Box of the mask if all of the file is to be read; otherwise only its header is."""
    if not path.lower().endswith('.png'):
        raise _Bad(f'the mask {path} should be a PNG')
    if whole:
        try:
            return mask_to_box(read_mask_file(path, *(size[::-1] if size else ())))
        except (FileNotFoundError, ValueError) as error:
            raise _Bad(str(error).rstrip('.')) from None
    mask_size, mode = _header(path)
    if size is not None and mask_size != size:
        raise _Bad(f'the mask {path} is {mask_size[0]}x{mask_size[1]} pixels, but the image {size[0]}x{size[1]}')
    if mode not in MASK_MODES:
        raise _Bad(f'the mask {path} is of mode {mode}; save it with one channel')
    return None


class LineReader:
    """Turn one line into a record with ``image_path``, ``size`` ((width, height) or None), ``expressions``, ``split``
    (or None), and ``instance`` (``bbox``, and ``mask`` or ``mask_path``; None where nothing is meant).

    Args:
        images_root: Folder that ``image`` is relative to.
        masks_root: Folder that a ``mask`` given as a path is relative to.
        open_images: Open the images (their headers only), for their sizes. Otherwise only what the file itself shows
            is checked.
        read_masks: Read masks that are files whole, not only those from which a box is to be derived.
    """

    def __init__(self, images_root: str, masks_root: str, open_images: bool, read_masks: bool) -> None:
        self.images_root = images_root
        self.masks_root = masks_root
        self.open_images = open_images
        self.read_masks = read_masks

    def read(self, text: str) -> tuple[dict, list[str]]:
        """The record and the reasons why it is bad, if any."""
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            return {}, [f'not JSON ({error.msg} at column {error.colno})']
        if not isinstance(line, dict):
            return {}, ['not a JSON object, {"image": ..., "expressions": ..., ...}']
        reasons = [f'"{key}" is missing' for key in ('image', 'expressions') if key not in line]
        reasons += [f'unknown key "{key}"; known are {", ".join(KEYS)}' for key in line if key not in KEYS]
        kinds = (('image', str, 'a path'), ('split', str, 'a string'), ('no_target', bool, 'true or false'))
        reasons += [
            f'"{key}" should be {what}' for key, kind, what in kinds if not isinstance(line.get(key, kind()), kind)
        ]
        nothing, something = line.get('no_target') is True, 'bbox' in line or 'mask' in line
        if nothing and something:
            reasons.append('"no_target" says that nothing is meant, but a "bbox" or "mask" is given')
        if not nothing and not something:
            reasons.append('both "bbox" and "mask" are missing; where nothing is meant, give "no_target": true')
        record: dict[str, Any] = dict(
            image=line.get('image'), split=line.get('split'), size=None, instance=None if nothing else {}
        )
        checks = [self._read_expressions, self._read_size, *([] if nothing else [self._read_instance])]
        for check in checks:
            try:
                check(line, record)
            except _Bad as bad:
                reasons.append(str(bad))
        return record, reasons

    def _read_expressions(self, line: dict, record: dict) -> None:
        if 'expressions' in line:
            record['expressions'] = _check_expressions(line['expressions'])

    def _read_size(self, line: dict, record: dict) -> None:
        if isinstance(line.get('image'), str):
            record['image_path'] = os.path.join(self.images_root, line['image'])
            record['size'] = _check_size(line, record['image_path'], self.open_images)

    def _read_instance(self, line: dict, record: dict) -> None:
        instance, mask, size = record['instance'], line.get('mask'), record['size']
        if 'bbox' in line:
            instance['bbox'] = _check_box(line['bbox'], size)
        if isinstance(mask, str):
            instance['mask_path'] = os.path.join(self.masks_root, mask)
            if self.open_images or 'bbox' not in line:
                box = _check_mask_file(instance['mask_path'], size, self.read_masks or 'bbox' not in line)
                instance.setdefault('bbox', box)
        elif 'mask' in line:
            if not isinstance(mask, list | dict):
                raise _Bad('"mask" should be polygons, an RLE, or the path of a PNG')
            instance['mask'] = _check_polygons(mask, size) if isinstance(mask, list) else _check_rle(mask, size)
            instance.setdefault('bbox', mask_to_box(mask))


def read_jsonl(path: str, reader: LineReader) -> Iterator[tuple[int, dict, list[str]]]:
    """Number, record and reasons of every line that is not blank."""
    require_file(path, 'ann_file', 'JSON Lines, one object a line')
    _header.cache_clear()
    with open(path, 'rb') as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode('utf-8-sig' if number == 1 else 'utf-8')
            except UnicodeDecodeError as error:
                yield number, {}, [f'not UTF-8 text (byte {error.start + 1})']
                continue
            if text.strip():
                yield number, *reader.read(text)


def validate_jsonl(
    path: str, images_root: str = '', masks_root: str | None = None, open_images: bool = True
) -> list[Problem]:
    """All problems of a JSON Lines file, in the order of its lines; an empty list if it can be used.

    Args:
        path: The file.
        images_root: Folder that ``image`` is relative to.
        masks_root: Folder that a ``mask`` given as a path is relative to; by default ``images_root``.
        open_images: Check that images and masks exist and can be read, and boxes and masks against their sizes.
    """
    return read_and_validate(path, images_root, masks_root, open_images, read_masks=open_images)[1]


def read_and_validate(
    path: str, images_root: str, masks_root: str | None, open_images: bool, read_masks: bool
) -> tuple[list[tuple[int, dict]], list[Problem]]:
    """The good lines' (number, record), and all problems; see :func:`validate_jsonl` and :class:`LineReader`."""
    reader = LineReader(images_root, images_root if masks_root is None else masks_root, open_images, read_masks)
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
    return records, sorted(problems, key=lambda problem: problem.line)

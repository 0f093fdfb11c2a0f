"""Reading custom data: JSON Lines, with one object of one image per line; every line is checked when it is read."""

import json
import os
from collections.abc import Iterator
from typing import Any

from mmuniqrnet.structures.mask_files import MASK_MODES
from mmuniqrnet.structures.masks import covers_pixel, is_polygon, mask_area, mask_to_box
from mmuniqrnet.structures.rle import rle_size, run_lengths
from mmuniqrnet.utils.errors import UserError

from .annotation_files import (
    BACKSLASHES,
    NOT_UNICODE,
    decode_text,
    is_unicode,
    longest_number,
    repeated_key,
    require_file,
)
from .named_files import ImageFiles, with_hint
from .objects import Repairs, clip_box, is_numbers
from .pictures import check_picture

KEYS = ('image', 'expressions', 'bbox', 'mask', 'no_target', 'split', 'width', 'height')


def _is_whole(value: Any, minimum: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def check_expressions(value: Any) -> list[str]:
    """The value of ``expressions``, a string or a list of strings, as a list, without white space at the ends.

    Raises:
        UserError: It is neither, or an expression is empty or not valid Unicode.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise UserError('"expressions" should be a string or a list of at least one string')
    if not all(text.strip() for text in texts):
        raise UserError('"expressions" has an empty expression')
    for text in texts:
        if not is_unicode(text):
            raise UserError(f'the expression {text!r} {NOT_UNICODE}')
    return [text.strip() for text in texts]


def _check_sides(record: dict) -> tuple[int, int] | None:
    """(width, height) as given in the line; None if they are not given."""
    given = [record[key] for key in ('width', 'height') if key in record]
    if len(given) == 1 or not all(_is_whole(side, 1) for side in given):
        raise UserError('"width" and "height" should both be given, as positive whole numbers, or neither')
    return (given[0], given[1]) if given else None


def _check_box(
    box: Any, size: tuple[int, int] | None, repairs: Repairs | None = None, what: str = '"bbox"'
) -> list[float]:
    if not is_numbers(box) or len(box) != 4:
        raise UserError(f'{what} should be four numbers [x1, y1, x2, y2] in pixels')
    if box[2] <= box[0] or box[3] <= box[1]:
        raise UserError(f'{what} {box} has no area: it should be [x1, y1, x2, y2] with x1 < x2 and y1 < y2')
    width, height = size or (None, None)
    return clip_box(box, width, height, repairs, what)


def _check_polygons(mask: list, size: tuple[int, int] | None) -> list[float]:
    """The box around the polygons."""
    if not mask or not all(is_numbers(part) and is_polygon(part) for part in mask):
        raise UserError(
            '"mask" as polygons should be a list of lists [x1, y1, x2, y2, x3, y3, ...], three points or more'
        )
    box = _check_box(mask_to_box(mask), size, None, 'the extent of "mask"')
    if size is not None and not covers_pixel(mask, size[1], size[0]):
        raise UserError('"mask" covers no pixel')
    return box


def _check_rle(mask: dict, size: tuple[int, int] | None) -> list[float]:
    """The box around an RLE."""
    try:
        rle_size(mask)
        if size is not None and rle_size(mask) != size[::-1]:
            raise UserError(f'"mask" has size {mask["size"]} (height, width), but the image has {size[1]}x{size[0]}')
        run_lengths(mask)
    except UserError as error:
        raise UserError(str(error) if '"mask"' in str(error) else f'"mask" is not a valid RLE: {error}') from None
    if not mask_area(mask):
        raise UserError('"mask" is empty')
    return mask_to_box(mask)


def parse_line(text: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The JSON object of a line, and what is wrong with it as JSON; None if it is no JSON object."""
    repeated: list[str] = []

    def build(pairs: list[tuple[str, Any]]) -> dict:
        if len(dict(pairs)) != len(pairs):
            repeated.append(repeated_key(pairs))
        return dict(pairs)

    try:
        line = json.loads(text, object_pairs_hook=build)
    except json.JSONDecodeError as error:
        hint = f'; {BACKSLASHES}' if 'escape' in error.msg else ''
        return None, [f'not JSON ({error.msg} at column {error.colno}{hint})']
    except ValueError:  # Python refuses to convert such numbers
        number = longest_number(text)
        return None, [f'the number at column {number.start() + 1} has {len(number[0])} digits: correct it']
    except RecursionError:
        return None, ['not JSON (its brackets are nested too deeply)']
    if not isinstance(line, dict):
        return None, ['not a JSON object, {"image": ..., "expressions": ..., ...}']
    return line, repeated


class LineReader:
    """Turn one line into a record with ``image_path``, ``size`` ((width, height) or None), ``expressions``, ``split``
    (or None), ``orientation`` (of EXIF), ``instance`` (``bbox``, and ``mask`` or ``mask_path``; None if there is no
    target), and ``mask_box`` (the box around the mask; None if there is no mask, or its file was not decoded).

    Args:
        images_root: Folder that ``image`` is relative to.
        masks_root: Folder that a ``mask`` given as a path is relative to.
        open_images: Open the images, to get their sizes. Otherwise only the content of the lines is checked.
        whole: Decode images and masks completely. Otherwise only their headers are read, and a mask file is decoded
            only if a box must be derived from it.
    """

    def __init__(self, images_root: str, masks_root: str, open_images: bool, whole: bool) -> None:
        self.images_root = images_root
        self.masks_root = masks_root
        self.open_images = open_images
        self.whole = whole
        self.files = ImageFiles(whole)
        self.repairs = Repairs()

    def decode_files(self, lines: list[str]) -> None:
        """Decode the files that these lines name, in parallel."""
        images, masks = [], []
        for text in lines:
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                continue
            image, mask = (line.get('image'), line.get('mask')) if isinstance(line, dict) else (None, None)
            if isinstance(image, str):
                images.append(os.path.join(self.images_root, image))
            if isinstance(mask, str) and mask.lower().endswith('.png'):
                masks.append(os.path.join(self.masks_root, mask))
        self.files.decode(images, masks)

    def read(self, text: str) -> tuple[dict, list[str]]:
        """The record, and the reasons why the line is invalid (empty if it is valid)."""
        line, repeated = parse_line(text)
        if line is None:
            return {}, repeated
        reasons = [*repeated, *(f'"{key}" is missing' for key in ('image', 'expressions') if key not in line)]
        reasons += [f'unknown key "{key}"; known are {", ".join(KEYS)}' for key in line if key not in KEYS]
        kinds = (('image', str, 'a path'), ('split', str, 'a string'), ('no_target', bool, 'true or false'))
        reasons += [
            f'"{key}" should be {what}' for key, kind, what in kinds if not isinstance(line.get(key, kind()), kind)
        ]
        nothing, something = line.get('no_target') is True, 'bbox' in line or 'mask' in line
        if nothing and something:
            reasons.append('"no_target" is true, but a "bbox" or "mask" is given')
        if not nothing and not something:
            reasons.append(
                'both "bbox" and "mask" are missing; if the expressions match nothing, give "no_target": true'
            )
        record: dict[str, Any] = dict(
            image=line.get('image'),
            split=line.get('split'),
            size=None,
            orientation=1,
            instance=None if nothing else {},
            mask_box=None,
        )
        checks = [self._read_expressions, self._read_size, *([] if nothing else [self._read_instance])]
        for check in checks:
            try:
                check(line, record)
            except UserError as bad:
                reasons.append(str(bad) + self._hint_of_orientation(check, line, record))
        return record, reasons

    def _hint_of_orientation(self, check: Any, line: dict, record: dict) -> str:
        """A hint for the message if ``check`` fails for the stored image, but not for the image turned by EXIF."""
        picture = record.get('picture')
        if picture is None or not picture.swaps_sides:
            return ''
        turned = picture._replace(width=picture.height, height=picture.width)
        attempt = dict(record, instance=dict(record['instance'] or {}), size=(turned.width, turned.height))
        try:
            if check == self._read_size:
                given = _check_sides(line)
                if given and given != (turned.width, turned.height):
                    return ''
            else:
                check(line, attempt)
        except UserError:
            return ''
        return (
            f'; it fits with width and height exchanged: {record["image_path"]} is shown turned by its EXIF '
            f'orientation {picture.orientation}, but annotations refer to the stored pixels; annotate these, or save '
            'the photograph upright, without the tag'
        )

    def _read_expressions(self, line: dict, record: dict) -> None:
        if 'expressions' in line:
            record['expressions'] = check_expressions(line['expressions'])

    def _read_size(self, line: dict, record: dict) -> None:
        if not isinstance(line.get('image'), str):
            return
        record['image_path'] = os.path.join(self.images_root, line['image'])
        given = _check_sides(line)
        if not self.open_images:
            record['size'] = given
            return
        # Pillow does not rotate by EXIF: annotations refer to the stored pixels.
        picture = record['picture'] = self.files.picture(record['image_path'])
        record['size'], record['orientation'] = (picture.width, picture.height), picture.orientation
        if given and given != record['size']:
            raise UserError(
                f'"width" and "height" are {given[0]}x{given[1]}, but the image has {picture.width}x{picture.height} '
                'pixels'
            )

    def _read_instance(self, line: dict, record: dict) -> None:
        instance, mask, size, box = record['instance'], line.get('mask'), record['size'], None
        if 'bbox' in line:
            instance['bbox'] = _check_box(line['bbox'], size, self.repairs)
        if isinstance(mask, str):
            instance['mask_path'] = os.path.join(self.masks_root, mask)
            if self.open_images or 'bbox' not in line:
                box = self._check_mask_file(instance['mask_path'], size, self.whole or 'bbox' not in line)
        elif 'mask' in line:
            if not isinstance(mask, list | dict):
                raise UserError('"mask" should be polygons, an RLE, or the path of a PNG')
            box = _check_polygons(mask, size) if isinstance(mask, list) else _check_rle(mask, size)
            instance['mask'] = mask
        instance.setdefault('bbox', box)
        record['mask_box'] = box

    def _check_mask_file(self, path: str, size: tuple[int, int] | None, whole: bool) -> list[float] | None:
        """The box of the mask if ``whole``; otherwise None, and only the header of the file is checked."""
        if not path.lower().endswith('.png'):
            raise UserError(f'the mask {path} should be a PNG')
        if whole:
            rle = self.files.mask(path)
            height, width = rle['size']
        else:
            try:
                width, height, mode, _ = check_picture(path, whole=False)
            except UserError as error:
                raise UserError(with_hint(str(error).replace('the image ', 'the mask '), path)) from None
            if mode not in MASK_MODES:
                raise UserError(f'the mask {path} has mode {mode}: save it with one channel')
        if size is not None and (width, height) != size:
            raise UserError(f'the mask {path} has {width}x{height} pixels, but the image has {size[0]}x{size[1]}')
        return mask_to_box(rle) if whole else None


def read_jsonl(path: str, reader: LineReader) -> Iterator[tuple[int, dict, list[str]]]:
    """Number, record and reasons of every line that is not blank."""
    require_file(path, 'ann_file', 'JSON Lines, one object per line')
    try:
        with open(path, 'rb') as file:
            lines = list(file)
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror}).') from None
    if lines and lines[0][:2] in (b'\xff\xfe', b'\xfe\xff') and b'\0' in lines[0]:
        yield 1, {}, ['not UTF-8 text, but UTF-16; save the file as UTF-8']
        return
    texts: list[tuple[int, str | None, str]] = []
    for number, line in enumerate(lines, 1):
        try:
            texts.append(
                (number, decode_text(line), '')
            )  # each line, because joined files may have several byte-order marks
        except UnicodeDecodeError as error:
            texts.append((number, None, f'not UTF-8 text (byte {error.start + 1})'))
    if reader.open_images and reader.whole:
        reader.decode_files([text for _, text, _ in texts if text])
    for number, text, reason in texts:
        if text is None:
            yield number, {}, [reason]
        elif text.strip():
            yield number, *reader.read(text)

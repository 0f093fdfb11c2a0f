"""Conversion from one format of labels to another."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from mmuniqrnet.datasets.pictures import Picture, check_picture
from mmuniqrnet.structures.box_formats import Layout, Units
from mmuniqrnet.structures.masks import mask_to_box
from mmuniqrnet.structures.rle import rle_size
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.formats import PREDICTIONS
from mmuniqrnet.utils.io import atomic_path, refuse_overwriting

from .coco import read_coco, write_coco
from .cvat import read_cvat, write_cvat
from .fiftyone import read_fiftyone, write_fiftyone
from .jsonl import read_jsonl, write_jsonl
from .label_studio import LOCAL_FILES, read_label_studio, write_label_studio
from .predictions import read_answers, read_predictions
from .records import LabelledObject, check_record

# These need the size of each image.
SIZED = ('label-studio', 'cvat', 'fiftyone')


@dataclass(frozen=True)
class Options:
    """What a conversion may need besides the two files.

    Attributes:
        images: Folder of the images; sizes are taken from them, or compared with them.
        strip_prefix: Removed from the beginning of each path of an image.
        add_prefix: Added at the beginning of each path of an image, after that.
        split: The split of all objects, in place of those in the file.
        skip_unnamed: Leave out objects without expression; by default they are an error.
        questions: For ``predictions``: the file that ``mmuniqrnet score --questions`` wrote.
        layout: For ``predictions``: order of the numbers of a box.
        units: For ``predictions``: units of boxes and polygons.
    """

    images: str | None = None
    strip_prefix: str = ''
    add_prefix: str = ''
    split: str | None = None
    skip_unnamed: bool = False
    questions: str | None = None
    layout: Layout = 'xyxy'
    units: Units = 'pixels'


def convert(
    source: str | Path, target: str | Path, read_as: str, write_as: str, options: Options, overwrite: bool = False
) -> tuple[list[LabelledObject], list[str]]:
    """Read a file in one format, and write it in another.

    Args:
        source: The file to read.
        target: The file to write.
        read_as: One of ``FORMATS``, or of ``PREDICTIONS``, which become pre-annotations.
        write_as: One of ``FORMATS``.
        options: See :class:`Options`.
        overwrite: Whether ``target`` may be replaced.

    Returns:
        The objects that were written, and notes on what was left out or changed.

    Raises:
        UserError: The file is malformed, an object cannot be held by the format, or ``target`` exists.
    """
    path = refuse_overwriting(target, overwrite, reads=[source, options.questions])
    objects, notes = _read(Path(source).expanduser(), read_as, options)
    if options.images is None:
        _check_orientations(objects)
    unnamed = [one for one in objects if not one.expressions]
    if unnamed and not options.skip_unnamed:
        raise UserError(f'{unnamed[0].where} has no expression: write one, or leave such objects out (--skip-unnamed).')
    if unnamed:
        notes.append(f'{len(unnamed):,} object(s) without expression are left out')
        objects = [one for one in objects if one.expressions]
    for one in objects:
        check_record(one)
        _rename(one, options, read_as)
    _add_sizes(objects, options, needed=write_as in SIZED)
    if read_as in PREDICTIONS:
        objects = _fit_boxes(objects, notes)
    if not objects:
        raise UserError(f'{source} has no object with an expression.')
    with atomic_path(path) as part:
        part.write_text(_text(objects, write_as, read_as in PREDICTIONS, path.stem), encoding='utf-8')
    if write_as in ('jsonl', 'cvat') and any(one.score is not None for one in objects):
        notes.append(f'{write_as} has no place for scores: they are not written')
    return objects, notes


def _read(path: Path, read_as: str, options: Options) -> tuple[list[LabelledObject], list[str]]:
    if read_as == 'predictions':
        if options.questions is None:
            raise UserError('predictions need the expressions: --questions, a file of mmuniqrnet score --questions.')
        return read_predictions(path, options.questions, options.layout, options.units)
    if options.questions is not None:
        raise UserError(f'--questions is for predictions, not for {read_as}.')
    if read_as == 'answers':
        return read_answers(path)
    if read_as == 'jsonl':
        return read_jsonl(path, options.images), []
    readers = {
        'coco': read_coco,
        'label-studio': read_label_studio,
        'cvat': read_cvat,
        'fiftyone': read_fiftyone,
    }
    return readers[read_as](path)


def _text(objects: Sequence[LabelledObject], write_as: str, predictions: bool, name: str) -> str:
    if write_as == 'jsonl':
        return write_jsonl(objects)
    if write_as == 'coco':
        return write_coco(objects)
    if write_as == 'label-studio':
        return write_label_studio(objects, predictions)
    return write_cvat(objects, predictions) if write_as == 'cvat' else write_fiftyone(objects, predictions, name)


def _rename(one: LabelledObject, options: Options, read_as: str) -> None:
    # Addresses of local files in Label Studio are quoted, and have one beginning.
    is_address = read_as == 'label-studio' and one.image.startswith(LOCAL_FILES)
    prefix = options.strip_prefix or (LOCAL_FILES if is_address else '')
    if not one.image.startswith(prefix):
        raise UserError(f'{one.where}: the image {one.image} does not begin with {prefix}.')
    one.image = unquote(one.image.removeprefix(prefix)) if is_address else one.image.removeprefix(prefix)
    if options.split is not None:
        one.split = options.split


def _check_orientations(objects: Sequence[LabelledObject]) -> None:
    """Look for the images of answers where the answers say that they are: only the files say whether they are turned.

    Before prefixes are removed, because the paths in the answers are those of the files.
    """
    pictures: dict[str, Picture] = {}
    for one in objects:
        if not one.upright:
            continue
        if one.image not in pictures:
            try:
                pictures[one.image] = check_picture(one.image, whole=False)
            except UserError as error:
                raise UserError(
                    f'{one.where} is about its image as it is shown, but annotations must refer to the stored pixels, '
                    f'and whether these differ cannot be seen ({error}): give the folder of images (--images DIR, and '
                    '--strip-prefix for the folder in the answers), or ask again with --orientation stored.'
                ) from None
        _check_turned(one, pictures[one.image])


def _check_turned(one: LabelledObject, picture: Picture) -> None:
    if one.upright and picture.orientation != 1:
        raise UserError(
            f'{one.where} is about {one.image} as it is shown, turned by its EXIF orientation {picture.orientation}, '
            'but annotations must refer to the stored pixels: ask again with --orientation stored.'
        )


def _add_sizes(objects: Sequence[LabelledObject], options: Options, needed: bool) -> None:
    """Add missing sizes of images, and compare the others with the files; add the prefix, which files do not have."""
    pictures: dict[str, Picture] = {}
    for one in objects:
        if options.images is not None:
            if one.image not in pictures:
                pictures[one.image] = check_picture(os.path.join(options.images, one.image), whole=False)
            picture = pictures[one.image]
            found = picture.width, picture.height
            _check_turned(one, picture)
            if one.width and one.height and (one.width, one.height) != found:
                turned = (
                    ': it is shown turned by its EXIF orientation, but annotations must refer to the stored pixels; '
                    'save the photograph upright, without the tag, and annotate that'
                    if picture.swaps_sides and found == (one.height, one.width)
                    else ''
                )
                raise UserError(
                    f'{one.where}: the image {one.image} has {found[0]}x{found[1]} pixels, not '
                    f'{one.width}x{one.height}{turned}.'
                )
            one.width, one.height = found
        if isinstance(one.mask, dict) and one.height and rle_size(one.mask) != (one.height, one.width):
            raise UserError(
                f'{one.where}: its mask has size {list(rle_size(one.mask))} (height, width), but the image has '
                f'{one.width}x{one.height} pixels.'
            )
        one.image = options.add_prefix + (quote(one.image) if options.add_prefix.startswith(LOCAL_FILES) else one.image)
    if needed:
        for one in objects:
            if not one.no_target:
                one.size  # noqa: B018  (raises)


def _fit_boxes(objects: Sequence[LabelledObject], notes: list[str]) -> list[LabelledObject]:
    """The objects, their boxes inside their images: annotations that reach out would be refused."""
    kept = []
    for one in objects:
        if one.box is not None:
            height, width = one.size
            clipped = [min(max(side, 0.0), float(limit)) for side, limit in zip(one.box, (width, height) * 2)]
            has_area = clipped[0] < clipped[2] and clipped[1] < clipped[3]
            one.box = clipped if has_area else None if one.mask is None else mask_to_box(one.mask)
            if one.box is None:
                notes.append(f'{one.where}: the box has no area inside the image and is left out')
                continue
        kept.append(one)
    return kept

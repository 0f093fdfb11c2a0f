"""Draw the answers of an evaluation that have the lowest IoU."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmuniqrnet.evaluation.results_file import read_results
from mmuniqrnet.structures.answers import Answer
from mmuniqrnet.structures.masks import decode_mask
from mmuniqrnet.utils.errors import MissingFileError, UserError
from mmuniqrnet.utils.picture_files import PictureFolder, read_image
from mmuniqrnet.visualization import draw_answer

INDEX = 'worst_cases.md'
INDEX_HEAD = '# Worst cases'


def rank_worst(
    records: Sequence[Mapping[str, Any]], by: Literal['mask_iou', 'box_iou'], top: int
) -> list[Mapping[str, Any]]:
    """The ``top`` records with the lowest ``by``, the lowest first; records without it are left out.

    Raises:
        UserError: No record has it, or ``top`` is less than 1.
    """
    if top < 1:
        raise UserError(f'top must be at least 1, not {top}.')
    scored = [record for record in records if record[by] is not None]
    if not scored:
        raise UserError(f'no expression of these results has a {by}: rank by the other of mask_iou and box_iou.')
    return sorted(scored, key=lambda record: record[by])[:top]


def draw_case(record: Mapping[str, Any], image: np.ndarray) -> np.ndarray:
    """Draw truth (green) and prediction (orange) on one image, below the expression and the values.

    Args:
        record: A line of the results file.
        image: RGB uint8 [H, W, 3], of the size in the record.

    Returns:
        RGB uint8; the image is its last H rows and first W columns.

    Raises:
        UserError: The image has another size than the one that was evaluated.
    """
    height, width = record['height'], record['width']
    if image.shape[:2] != (height, width):
        raise UserError(
            f'image {record["img_path"]} is {list(image.shape[:2])} (height, width), but [{height}, {width}] was '
            'evaluated.'
        )
    sides = []
    for side in ('truth', 'pred'):
        box, mask = record.get(f'{side}_box'), record.get(f'{side}_mask')
        # some protocols compare masks at the network's size; those do not fit this image
        if mask is not None:
            mask = decode_mask(mask, height, width) if mask['size'] == [height, width] else None
        sides.append(Answer([] if box is None else [box], mask, record.get('score') if side == 'pred' else None))
    ious = dict(box=record['box_iou'], mask=record['mask_iou'])
    return draw_answer(image, str(record['text']), *sides, ious=ious, side_by_side=False, min_side=0)


def write_worst_cases(
    results: str | Path, out_dir: str | Path, top: int = 20, by: Literal['mask_iou', 'box_iou'] | None = None
) -> list[Path]:
    """Draw the worst cases of a results file to ``out_dir``, with an index, ``worst_cases.md``.

    Args:
        results: The file, ``{outfile_prefix}_{dataset}_{split}.jsonl``.
        out_dir: A new or empty folder, or one filled by this function before, whose pictures are replaced.
        top: Number of cases.
        by: What to rank by; None = mask_iou if any expression has one, else box_iou.

    Returns:
        Paths of the pictures, the worst first.

    Raises:
        FileNotFoundError: The results or an image do not exist.
        OverwriteError: ``out_dir`` has other content.
        UserError: See ``rank_worst`` and ``draw_case``.
    """
    records = read_results(results)
    if by is None:
        by = 'mask_iou' if any(record['mask_iou'] is not None for record in records) else 'box_iou'
    worst = rank_worst(records, by, top)
    pictures = [draw_case(record, _read_image(record)) for record in worst]
    folder = PictureFolder(out_dir, INDEX, INDEX_HEAD, f' of {Path(results).name} by {by}')
    paths = []
    for number, (record, picture) in enumerate(zip(worst, pictures), 1):
        about = f'{_ious_of(record)}; "{record["text"]}" (sent_id {record["sent_id"]}, {record["img_path"]})'
        paths.append(folder.write(f'worst_{number:03d}.png', about, picture))
    return paths


def _read_image(record: Mapping[str, Any]) -> np.ndarray:
    path = record['img_path']
    if path is None or not Path(path).is_file():
        raise MissingFileError(
            f'image {path} of expression {record["sent_id"]} not found: the path is as the evaluation wrote it, '
            'relative to the folder in which it ran.'
        )
    return read_image(path)


def _ious_of(record: Mapping[str, Any]) -> str:
    values = [
        f'{name} IoU {100 * record[key]:.1f}'
        for name, key in (('mask', 'mask_iou'), ('box', 'box_iou'))
        if record[key] is not None
    ]
    return ', '.join(values)

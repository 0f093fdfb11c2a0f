"""The worst answers of an evaluation, drawn: what to look at first when figures are lower than hoped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from mmuniqrnet.evaluation.results_file import read_results
from mmuniqrnet.structures.answers import Answer
from mmuniqrnet.structures.masks import decode_mask
from mmuniqrnet.utils.picture_folder import PictureFolder
from mmuniqrnet.visualization.drawing import PRED_RGB, TRUTH_RGB, draw_answer

TRUTH_BGR, PRED_BGR = TRUTH_RGB[::-1], PRED_RGB[::-1]
INDEX = 'worst_cases.md'
INDEX_HEAD = '# Worst cases'


def rank_worst(
    records: Sequence[Mapping[str, Any]], by: Literal['mask_iou', 'box_iou'], top: int
) -> list[Mapping[str, Any]]:
    """The ``top`` records with the lowest ``by``, the worst first; those of which it could not be told are left out.

    Raises:
        ValueError: It can be told of none, or ``top`` is less than 1.
    """
    if top < 1:
        raise ValueError(f'top must be at least 1, not {top}')
    scored = [record for record in records if record[by] is not None]
    if not scored:
        raise ValueError(f'no expression of these results has a {by}; rank by the other of mask_iou and box_iou')
    return sorted(scored, key=lambda record: record[by])[:top]


def draw_case(record: Mapping[str, Any], image: np.ndarray) -> np.ndarray:
    """The image with truth (green) and prediction (orange), boxes as outlines and masks as tints, under a caption.

    Args:
        record: A line of the results file.
        image: BGR, uint8 [H, W, 3], of the size the record states.

    Returns:
        BGR, uint8 [caption + H, W, 3], wider where not one letter fits W: the caption is on top, the image begins at
        row ``len(result) - H``, column 0.

    Raises:
        ValueError: The image has another size than the one that was evaluated.
    """
    height, width = record['height'], record['width']
    if image.shape[:2] != (height, width):
        raise ValueError(
            f'image {record["img_path"]} is {list(image.shape[:2])}, but [{height}, {width}] was evaluated'
        )
    sides = []
    for side in ('truth', 'pred'):
        box, mask = record.get(f'{side}_box'), record.get(f'{side}_mask')
        # a mask of a protocol that scores on the network's grid does not lie on this image
        if mask is not None:
            mask = decode_mask(mask, height, width) if mask['size'] == [height, width] else None
        sides.append(Answer([] if box is None else [box], mask, record.get('score') if side == 'pred' else None))
    ious = dict(box=record['box_iou'], mask=record['mask_iou'])
    picture = draw_answer(image[..., ::-1], str(record['text']), *sides, ious=ious, side_by_side=False, min_side=0)
    return np.ascontiguousarray(picture[..., ::-1])


def write_worst_cases(
    results: str | Path, out_dir: str | Path, top: int = 20, by: Literal['mask_iou', 'box_iou'] | None = None
) -> list[Path]:
    """Draw the worst cases of a results file to ``out_dir``, with an index of them, ``worst_cases.md``.

    Args:
        results: The file, ``{outfile_prefix}_{dataset}_{split}.jsonl``.
        out_dir: A new or empty folder, or one that this function filled before, whose pictures are then replaced.
        top: How many.
        by: Rank by this; None = by mask_iou where any expression has one, else by box_iou.

    Returns:
        The pictures' paths, the worst first.

    Raises:
        FileNotFoundError: The results or an image are not there.
        FileExistsError: ``out_dir`` holds something else.
        ValueError: See ``rank_worst`` and ``draw_case``.
    """
    records = read_results(results)
    if by is None:
        by = 'mask_iou' if any(record['mask_iou'] is not None for record in records) else 'box_iou'
    worst = rank_worst(records, by, top)
    pictures = [draw_case(record, _read_image(record)) for record in worst]
    folder = PictureFolder(out_dir, INDEX, INDEX_HEAD, f' of {Path(results).name} by {by}')
    paths = []
    for number, (record, picture) in enumerate(zip(worst, pictures), 1):
        about = f'{_figures_of(record)}; "{record["text"]}" (sent_id {record["sent_id"]}, {record["img_path"]})'
        path = folder.add(f'worst_{number:03d}.png', about)
        cv2.imwrite(str(path), picture)
        paths.append(path)
    return paths


def _read_image(record: Mapping[str, Any]) -> np.ndarray:
    path = record['img_path']
    if path is None or not Path(path).is_file():
        raise FileNotFoundError(
            f'image {path} of expression {record["sent_id"]} not found; the results name it as it was when '
            'they were made, relative to the folder they were made from'
        )
    # annotations refer to the pixels as stored, whatever the EXIF says
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError(f'image {path} cannot be decoded')
    return image


def _figures_of(record: Mapping[str, Any]) -> str:
    told = [
        f'{name} IoU {100 * record[key]:.1f}'
        for name, key in (('mask', 'mask_iou'), ('box', 'box_iou'))
        if record[key] is not None
    ]
    return ', '.join(told)

"""The worst answers of an evaluation, drawn: what to look at first when figures are lower than hoped."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from .results_file import read_results
from .truth import decode_segmentation

TRUTH_BGR, PRED_BGR = (80, 175, 0), (0, 80, 255)
CAPTION_LINE = 22
INDEX = 'worst_cases.md'
INDEX_HEAD = '# Worst cases'


def rank_worst(records: Sequence[Mapping[str, Any]], by: Literal['mask_iou', 'box_iou'],
               top: int) -> list[Mapping[str, Any]]:
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
        BGR, uint8 [caption + H, W, 3]: the caption is on top, the image begins at row ``len(result) - H``.

    Raises:
        ValueError: The image has another size than the one that was evaluated.
    """
    height, width = record['height'], record['width']
    if image.shape[:2] != (height, width):
        raise ValueError(
            f"image {record['img_path']} is {list(image.shape[:2])}, but [{height}, {width}] was evaluated")
    drawn = image.copy()
    for key, colour in (('truth_mask', TRUTH_BGR), ('pred_mask', PRED_BGR)):
        # a mask of a protocol that scores on the network's grid does not lie on this image
        if record.get(key) is not None and record[key]['size'] == [height, width]:
            mask = decode_segmentation(record[key], height, width)
            drawn[mask] = (0.6 * drawn[mask] + 0.4 * np.array(colour)).astype(np.uint8)
    for key, colour in (('truth_box', TRUTH_BGR), ('pred_box', PRED_BGR)):
        if record.get(key) is not None:
            x1, y1, x2, y2 = np.clip(np.round(record[key]), 0, [width - 1, height - 1] * 2).astype(int).tolist()
            cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, 2)
    return np.concatenate([_caption(record, width), drawn])


def write_worst_cases(
        results: str | Path,
        out_dir: str | Path,
        top: int = 20,
        by: Literal['mask_iou', 'box_iou'] | None = None) -> list[Path]:
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
    out_dir = Path(out_dir)
    _clear(out_dir)
    paths = []
    lines = [f'{INDEX_HEAD} of {Path(results).name} by {by}', '']
    for number, (record, picture) in enumerate(zip(worst, pictures), 1):
        path = out_dir / f'worst_{number:03d}.png'
        cv2.imwrite(str(path), picture)
        paths.append(path)
        lines.append(f"{number}. [{path.name}]({path.name}): {_figures_of(record)}; \"{record['text']}\" "
                     f"(sent_id {record['sent_id']}, {record['img_path']})")
    (out_dir / INDEX).write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return paths


def _clear(out_dir: Path) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    index = out_dir / INDEX
    if index.is_file() and index.read_text(encoding='utf-8').startswith(INDEX_HEAD):
        for path in out_dir.glob('worst_[0-9][0-9][0-9].png'):
            path.unlink()
    elif any(out_dir.iterdir()):
        raise FileExistsError(f'{out_dir} is not empty and holds no earlier worst cases; name a new folder')


def _read_image(record: Mapping[str, Any]) -> np.ndarray:
    path = record['img_path']
    if path is None or not Path(path).is_file():
        raise FileNotFoundError(
            f"image {path} of expression {record['sent_id']} not found; the results name it as it was when "
            'they were made, relative to the folder they were made from')
    # annotations refer to the pixels as stored, whatever the EXIF says
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError(f'image {path} cannot be decoded')
    return image


def _caption(record: Mapping[str, Any], width: int) -> np.ndarray:
    # OpenCV's fonts have ASCII only; the index holds the text as it is
    text = str(record['text']).encode('ascii', 'replace').decode()
    rows = [*_wrap(text, width), *_wrap(_figures_of(record), width), *_wrap('green: truth, orange: prediction', width)]
    caption = np.full((CAPTION_LINE * len(rows) + 6, width, 3), 255, dtype=np.uint8)
    for number, row in enumerate(rows, 1):
        place = (4, CAPTION_LINE * number - 4)
        cv2.putText(caption, row, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return caption


def _wrap(text: str, width: int) -> list[str]:
    rows = ['']
    for word in text.split():
        longer = f'{rows[-1]} {word}'.strip()
        if rows[-1] and cv2.getTextSize(longer, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0] > width - 8:
            rows.append(word)
        else:
            rows[-1] = longer
    return rows


def _figures_of(record: Mapping[str, Any]) -> str:
    told = [f'{name} IoU {100 * record[key]:.1f}' for name, key in (('mask', 'mask_iou'), ('box', 'box_iou'))
            if record[key] is not None]
    return ', '.join(told)

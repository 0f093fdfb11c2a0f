"""A sheet: the expression on top, under it images of one size, each with its caption."""

from collections.abc import Sequence

import cv2
import numpy as np

from .text import text_block

GAP = 8
MIN_FONT = 16


def enlarge(image: np.ndarray, min_side: int) -> tuple[np.ndarray, int]:
    """The image magnified by the least whole number that makes its short side at least ``min_side`` pixels.

    Whole, so that every pixel stays a square and boxes stay exact. The long side is kept below 5 * ``min_side``, so a
    very elongated image is magnified less.

    Returns:
        The image [H * factor, W * factor, ...] and the factor.
    """
    short, long = sorted(image.shape[:2])
    factor = max(1, min(-(-min_side // short), 5 * min_side // long))
    if factor == 1:
        return image, 1
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), factor


def lay_out(
    expression: str, panels: Sequence[tuple[str, np.ndarray]], columns: int | None = None, min_width: int = 0
) -> np.ndarray:
    """Put panels side by side under the expression.

    Args:
        expression: Stands on top, over the whole width, wrapped; nothing where it is empty.
        panels: Captions and RGB uint8 images, all of one size [H, W, 3].
        columns: Panels a row; None = all of them.
        min_width: Of a column in pixels; images narrower than that stand at its left edge, white on their right.

    Returns:
        RGB uint8. The last row's images stand at the very bottom, the first of a row at the very left; each next one
        ``GAP`` pixels right of its neighbour's column.
    """
    columns = min(columns or len(panels), len(panels))
    height, width = panels[0][1].shape[:2]
    # letters keep their share of a large sheet, which is looked at in a small window
    size = max(MIN_FONT, round(columns * width / 45))
    captions = [text_block(caption, max(width, min_width), size) if caption else None for caption, _ in panels]
    column = max([width, min_width, *(caption.shape[1] for caption in captions if caption is not None)])
    head = text_block(expression, columns * (column + GAP) - GAP, size) if expression.strip() else None

    rows = [] if head is None else [head]
    for start in range(0, len(panels), columns):
        chosen = slice(start, start + columns)
        tallest = max(0 if caption is None else caption.shape[0] for caption in captions[chosen])
        row = []
        for caption, (_, image) in zip(captions[chosen], panels[chosen]):
            cell = np.full((tallest + height, column, 3), 255, np.uint8)
            if caption is not None:
                cell[: caption.shape[0], : caption.shape[1]] = caption
            cell[tallest:, :width] = image
            row += [cell, np.full((tallest + height, GAP, 3), 255, np.uint8)]
        rows.append(np.concatenate(row[:-1], axis=1))
    widest = max(row.shape[1] for row in rows)
    return np.concatenate([_widened(row, widest) for row in rows])


def _widened(row: np.ndarray, width: int) -> np.ndarray:
    return np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)

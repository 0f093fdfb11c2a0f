"""A sheet: the expression at the top, and below it images of one size, each with a caption.

Plain array code: matplotlib was measured at three times the time for the same sheet, and its layouts scale images,
while here one pixel of the image is a whole number of pixels of the sheet.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from .text_image import text_image

GAP = 8
MIN_FONT_SIZE = 16


def enlarge(image: np.ndarray, min_side: int) -> tuple[np.ndarray, int]:
    """Magnify an image by the smallest whole number that makes its short side at least ``min_side`` pixels.

    With a whole number every pixel becomes a square, and boxes stay exact. The long side is kept below
    5 * ``min_side``, so a very elongated image is magnified less.

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
    """Arrange panels in rows under the expression.

    Args:
        expression: Text at the top, wrapped to the width of the sheet; may be empty.
        panels: Captions, which may be empty, and RGB uint8 images, all [H, W, 3].
        columns: Panels in a row; None = all of them.
        min_width: Width of a column in pixels, if the images are narrower; they are at its left edge.

    Returns:
        RGB uint8. The images of the last row end at the bottom edge, the first of a row begins at the left edge, and
        there are ``GAP`` pixels between columns.
    """
    columns = min(columns or len(panels), len(panels))
    height, width = panels[0][1].shape[:2]
    # in proportion to the sheet, because a large sheet is viewed in a small window
    font_size = max(MIN_FONT_SIZE, round(columns * width / 45))
    captions = [text_image(caption, max(width, min_width), font_size) for caption, _ in panels]
    step = max(caption.shape[1] for caption in captions) + GAP
    blocks = [(0, 0, text_image(expression, columns * step - GAP, font_size))]
    bottom = blocks[0][2].shape[0]
    for start in range(0, len(panels), columns):
        row = range(start, min(start + columns, len(panels)))
        top = bottom + max(captions[i].shape[0] for i in row)
        for i in row:
            x = (i - start) * step
            blocks += [(bottom, x, captions[i]), (top, x, panels[i][1])]
        bottom = top + height
    sheet = np.full((bottom, max(x + block.shape[1] for _, x, block in blocks), 3), 255, np.uint8)
    for y, x, block in blocks:
        sheet[y : y + block.shape[0], x : x + block.shape[1]] = block
    return sheet

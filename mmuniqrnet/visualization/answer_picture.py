"""Draw an answer to an expression: the one owner of colours, outlines, masks and captions.

mmengine's ``Visualizer`` draws boxes and masks through matplotlib, five times slower, and has no panels, no contour of
a mask and no text outside the image.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mmuniqrnet.structures import Answer
from mmuniqrnet.structures.overlap import box_iou, mask_overlap, ratio
from mmuniqrnet.utils.errors import UserError

from .sheet import enlarge, lay_out

Colour = tuple[int, int, int]

TRUTH_RGB, PREDICTION_RGB = (0, 175, 80), (255, 80, 0)
EDGE_RGB = (20, 20, 20)
OPACITY = 0.4
MIN_SIDE = 320


def draw_answer(
    image: np.ndarray,
    expression: str,
    truth: Answer | None = None,
    prediction: Answer | None = None,
    *,
    ious: Mapping[str, float | None] | None = None,
    note: str = '',
    side_by_side: bool = True,
    min_side: int = MIN_SIDE,
) -> np.ndarray:
    """Draw the expression and, below it, the truth (green) and the prediction (orange): boxes and masks.

    Args:
        image: RGB uint8 [H, W, 3]; it is not changed.
        expression: Any Unicode; wrapped, never cut off.
        truth: None = unknown: no panel. A truth without boxes and with an empty mask is captioned "nothing there".
        prediction: None = no panel.
        ious: IoU in 0..1 of ``box`` and ``mask`` for the caption; None = computed, where truth and prediction have one
            box each, or a mask each.
        note: Text at the end of the prediction's caption.
        side_by_side: Whether truth and prediction have a panel each, or share one.
        min_side: The image is magnified by a whole number so that its short side is at least so many pixels (see
            ``sheet.enlarge``), and panels are at least so wide; 0 = the image as it is.

    Returns:
        RGB uint8, arranged by ``sheet.lay_out``, the truth to the left. With neither truth nor prediction, one panel
        with the image.

    Raises:
        ValueError: A mask does not have the size of the image.
    """
    for name, answer in (('truth', truth), ('prediction', prediction)):
        if answer is not None and answer.mask is not None and answer.mask.shape != image.shape[:2]:
            raise UserError(
                f'the mask of the {name} is {list(answer.mask.shape)}, but the image of "{expression}" '
                f'is {list(image.shape[:2])} (height, width); answers must be in pixels of the image'
            )
    shown: list[tuple[str, list[tuple[Answer, Colour]]]] = []
    if truth is not None:
        shown.append((_truth_caption(truth), [(truth, TRUTH_RGB)]))
    if prediction is not None:
        ious = compute_ious(truth, prediction) if ious is None else ious
        shown.append((_prediction_caption(prediction, ious, note), [(prediction, PREDICTION_RGB)]))
    if len(shown) == 2 and not side_by_side:
        (_, first), (caption, second) = shown
        shown = [(f'green: truth, orange: {caption}', first + second)]
    canvas, factor = enlarge(image, min_side) if min_side else (image, 1)
    panels = [(caption, paint_answers(canvas, answers, factor)) for caption, answers in shown or [(note, [])]]
    return lay_out(expression, panels, min_width=min_side)


def compute_ious(truth: Answer | None, prediction: Answer) -> dict[str, float | None]:
    """IoU in 0..1 of ``box`` and ``mask``, each None where it is undefined."""
    ious: dict[str, float | None] = dict(box=None, mask=None)
    if truth is None:
        return ious
    if len(truth.boxes) == 1 and len(prediction.boxes) == 1:
        ious['box'] = float(box_iou(np.array(prediction.boxes[0]), np.array(truth.boxes[0])))
    if truth.mask is not None and prediction.mask is not None:
        ious['mask'] = ratio(*mask_overlap(prediction.mask, truth.mask))
    return ious


def _truth_caption(truth: Answer) -> str:
    nothing = not truth.boxes and truth.mask is not None and not truth.mask.any()
    return 'truth: nothing there' if nothing else 'truth'


def _prediction_caption(prediction: Answer, ious: Mapping[str, float | None], note: str) -> str:
    words = ['prediction' if prediction.score is None else f'prediction {prediction.score:.2f}']
    values = [f'{name} {ious[name]:.2f}' for name in ('box', 'mask') if ious.get(name) is not None]
    if values:
        words.append(' '.join(['IoU', *values]))
    if not np.isfinite(np.array(prediction.boxes, dtype=float)).all():
        words.append('box not finite')
    if note:
        words.append(note)
    return ', '.join(words)


def paint_answers(canvas: np.ndarray, answers: Sequence[tuple[Answer, Colour]], factor: int = 1) -> np.ndarray:
    """Draw answers on a copy of the canvas: all masks first, then all boxes, so that no mask covers a box.

    Args:
        canvas: RGB uint8 [H, W, 3]: the image of the answers, magnified by ``factor``.
        answers: Each with its colour (RGB); later masks are drawn over earlier ones.
        factor: A whole number.

    Returns:
        RGB uint8 [H, W, 3].
    """
    canvas = canvas.copy()
    line = max(2, round(min(canvas.shape[:2]) / 120))
    for answer, colour in answers:
        if answer.mask is not None:
            mask = cv2.resize(answer.mask.astype(np.uint8), canvas.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            _paint_mask(canvas, mask, colour, contour=max(1, line // 2))
    picture = Image.fromarray(canvas)
    for answer, colour in answers:
        for box in answer.boxes:
            if np.isfinite(box).all():
                _paint_box(picture, np.asarray(box) * factor, colour, line)
    return np.array(picture)


def _paint_mask(canvas: np.ndarray, mask: np.ndarray, colour: Colour, contour: int) -> None:
    inside = mask > 0
    canvas[inside] = ((1 - OPACITY) * canvas[inside] + OPACITY * np.array(colour)).astype(np.uint8)
    # the contour is within the mask, so it shows exactly which pixels belong to it
    core = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=contour) > 0
    canvas[inside & ~core] = colour


def _paint_box(picture: Image.Image, box: np.ndarray, colour: Colour, line: int) -> None:
    """A line along the edges of the box, between two thin dark ones; moved inside where it would leave the picture."""
    limits = np.array(picture.size)
    low = np.clip(np.round(box[:2]).astype(int) - line // 2, 0, np.maximum(limits - line, 0))
    high = np.clip(np.round(box[2:]).astype(int) + line - line // 2, low + line, np.maximum(limits, low + line))
    draw = ImageDraw.Draw(picture)
    for grow, paint in ((1, EDGE_RGB), (0, colour)):
        # Pillow's rectangles include both corners; it draws too much if the line is wider than half of the rectangle
        half = -(-int((high - low).min() + 2 * grow) // 2)
        draw.rectangle([*(low - grow), *(high - 1 + grow)], outline=paint, width=min(line + 2 * grow, half))

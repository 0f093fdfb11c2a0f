"""One way to draw an answer to an expression, for the visualizer, the worst cases and whoever else needs a picture."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mmuniqrnet.structures import Answer
from mmuniqrnet.structures.overlap import box_iou, mask_overlap, ratio

from .sheet import enlarge, lay_out

TRUTH_RGB, PRED_RGB = (0, 175, 80), (255, 80, 0)
EDGE_RGB = (20, 20, 20)
TINT = 0.4
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
    """The expression and, under it, the truth (green) and the prediction (orange): outlines of boxes, tinted masks.

    Args:
        image: RGB uint8 [H, W, 3]; it is not changed.
        expression: Any Unicode; wrapped, never cut off.
        truth: None = not known; no panel then. Without boxes and with an empty mask it says that nothing is there.
        prediction: None = none; no panel then.
        ious: IoU in 0..1 of ``box`` and ``mask``, as some protocol counts them; None = counted here, where both sides
            have one box, or a mask.
        note: Stands behind the prediction's caption.
        side_by_side: Two panels, or both drawn on one.
        min_side: The image is magnified so that its short side has at least so many pixels (see ``sheet.enlarge``),
            and a panel is at least so wide; 0 = as it is.

    Returns:
        RGB uint8. The panels stand at the bottom as ``sheet.lay_out`` says, the truth left. With neither truth nor
        prediction there is one panel, the image alone.

    Raises:
        ValueError: A mask has not the image's size.
    """
    for name, answer in (('truth', truth), ('prediction', prediction)):
        if answer is not None and answer.mask is not None and answer.mask.shape != image.shape[:2]:
            raise ValueError(
                f'the mask of the {name} is {list(answer.mask.shape)}, but the image of "{expression}" '
                f'is {list(image.shape[:2])} (height, width); answers must be in pixels of the image'
            )
    shown: list[tuple[str, list[tuple[Answer, tuple[int, int, int]]]]] = []
    if truth is not None:
        shown.append((_truth_caption(truth), [(truth, TRUTH_RGB)]))
    if prediction is not None:
        ious = count_ious(truth, prediction) if ious is None else ious
        shown.append((_prediction_caption(prediction, ious, note), [(prediction, PRED_RGB)]))
    if len(shown) == 2 and not side_by_side:
        (_, first), (caption, second) = shown
        shown = [(f'green: truth, orange: {caption}', first + second)]
    canvas, factor = enlarge(image, min_side) if min_side else (image, 1)
    panels = [(caption, paint_answers(canvas, answers, factor)) for caption, answers in shown or [(note, [])]]
    return lay_out(expression, panels, min_width=min_side)


def count_ious(truth: Answer | None, prediction: Answer) -> dict[str, float | None]:
    """IoU in 0..1 of ``box`` and ``mask``, each None where it can't be told."""
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
    told = [f'{name} {ious[name]:.2f}' for name in ('box', 'mask') if ious.get(name) is not None]
    if told:
        words.append(' '.join(['IoU', *told]))
    if not np.isfinite(np.array(prediction.boxes, dtype=float)).all():
        words.append('box not finite')
    if note:
        words.append(note)
    return ', '.join(words)


def paint_answers(
    canvas: np.ndarray, answers: Sequence[tuple[Answer, tuple[int, int, int]]], factor: int = 1
) -> np.ndarray:
    """A copy of the canvas with answers in their colours (RGB); masks first, to hide no box.

    Args:
        canvas: RGB uint8 [H, W, 3], the image that the answers are about, magnified by ``factor``.
        answers: Each with its colour; a mask is painted over those before it.
        factor: A whole number.
    """
    canvas = canvas.copy()
    line = max(2, round(min(canvas.shape[:2]) / 120))
    for answer, colour in answers:
        if answer.mask is not None:
            mask = answer.mask.astype(np.uint8)
            mask = cv2.resize(mask, canvas.shape[1::-1], interpolation=cv2.INTER_NEAREST) if factor > 1 else mask
            _tint(canvas, mask, colour, contour=max(1, line // 2))
    for answer, colour in answers:
        for box in answer.boxes:
            if np.isfinite(box).all():
                _outline(canvas, np.asarray(box) * factor, colour, line)
    return canvas


def _tint(canvas: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], contour: int) -> None:
    inside = mask > 0
    canvas[inside] = ((1 - TINT) * canvas[inside] + TINT * np.array(colour)).astype(np.uint8)
    # within the mask, so that the contour says exactly which pixels belong to it
    core = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=contour) > 0
    canvas[inside & ~core] = colour


def _outline(canvas: np.ndarray, box: np.ndarray, colour: tuple[int, int, int], line: int) -> None:
    """A line along the box's edges, moved inside where it would leave the canvas, between two thin dark ones."""
    limits = np.array(canvas.shape[1::-1])
    low = np.clip(np.round(box[:2]).astype(int) - line // 2, 0, np.maximum(limits - line, 0))
    high = np.clip(np.round(box[2:]).astype(int) + line - line // 2, low + line, np.maximum(limits, low + line))
    for grow, thick, paint in ((1, line + 2, EDGE_RGB), (0, line, colour)):
        band = np.zeros(canvas.shape[:2], dtype=bool)
        (x1, y1), (x2, y2) = np.maximum(low - grow, 0), high + grow
        band[y1:y2, x1:x2] = True
        (x1, y1), (x2, y2) = low - grow + thick, high + grow - thick
        if x1 < x2 and y1 < y2:
            band[y1:y2, x1:x2] = False
        canvas[band] = paint

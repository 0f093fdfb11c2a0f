"""What the page shows as pictures: all answers on one, and a heat map a gate."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as coco_mask

from mmuniqrnet.structures.answers import Answer
from mmuniqrnet.visualization import heat_on_image, paint_answers
from mmuniqrnet.visualization.sheet import enlarge
from mmuniqrnet.visualization.text_image import DEJAVU

from .palette import COLOURS, ink

MIN_SIDE, MAX_SIDE = 480, 1600
GATE_MIN_SIDE, GATE_MAX_SIDE = 240, 480


def fit(picture: np.ndarray, min_side: int = MIN_SIDE, max_side: int = MAX_SIDE) -> np.ndarray:
    """The picture as large as it is shown: small ones magnified by a whole number, large ones made smaller."""
    canvas, _ = enlarge(picture, min_side)
    height, width = canvas.shape[:2]
    if max(height, width) <= max_side:
        return canvas
    share = max_side / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)


def draw_answers(picture: np.ndarray, predictions: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Every answer that is neither refused nor failed, in the colour and with the number of its phrase.

    Args:
        picture: RGB uint8 [H, W, 3].
        predictions: The inferencer's dictionaries, in pixels of the picture.

    Returns:
        RGB uint8, of the size that ``fit`` gives.
    """
    canvas = fit(picture)
    height, width = canvas.shape[:2]
    scale = np.array([width / picture.shape[1], height / picture.shape[0]] * 2)
    drawn, tags = [], []
    for number, (prediction, colour) in enumerate(zip(predictions, COLOURS), 1):
        if 'error' in prediction or prediction['refused']:
            continue
        mask = prediction['mask']
        if mask is not None:
            mask = cv2.resize(coco_mask.decode(mask), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
        boxes = [] if prediction['box'] is None else [(np.array(prediction['box']) * scale).tolist()]
        drawn.append((Answer(boxes, mask, prediction['score']), colour))
        tags += [(number, np.array(box), colour) for box in boxes]
    return _with_tags(paint_answers(canvas, drawn), tags)


def draw_gates(picture: np.ndarray, gates: Mapping[str, np.ndarray]) -> list[tuple[np.ndarray, str]]:
    """A heat map (RGB uint8) and its caption for each gate, float [H, W] of the picture's size."""
    canvas = fit(picture, GATE_MIN_SIDE, GATE_MAX_SIDE)
    maps = []
    for name, values in gates.items():
        values = np.asarray(values, dtype=np.float32)
        caption = f'{gate_title(name)}: {values.min():.2f} to {values.max():.2f}'
        if values.shape[0] > canvas.shape[0]:
            values = cv2.resize(values, canvas.shape[1::-1], interpolation=cv2.INTER_AREA)
        maps.append((heat_on_image(canvas, values), caption))
    return maps


def gate_title(name: str) -> str:
    """``backbone.gates.0`` -> ``Backbone, stage 1``; ``neck.gates.1`` -> ``Neck, level 2``, others as they are."""
    part, _, index = name.partition('.gates.')
    parts = dict(backbone='Backbone, stage', neck='Neck, level')
    return f'{parts[part]} {int(index) + 1}' if part in parts and index.isdigit() else name


def _with_tags(canvas: np.ndarray, tags: Sequence[tuple[int, np.ndarray, tuple[int, int, int]]]) -> np.ndarray:
    """A number at a corner of each box, where it covers no other number if there is room."""
    size = max(18, round(min(canvas.shape[:2]) / 18))
    side = round(1.5 * size)
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(str(DEJAVU), size)
    taken: list[np.ndarray] = []
    for number, box, colour in tags:
        corner = _free_corner(box, side, canvas.shape, taken)
        taken.append(corner)
        x, y = corner.tolist()
        draw.rectangle([x, y, x + side - 1, y + side - 1], fill=colour, outline=(20, 20, 20), width=max(1, side // 16))
        draw.text((x + side / 2, y + side / 2), str(number), font=font, fill=ink(colour), anchor='mm')
    return np.array(image)


def _free_corner(box: np.ndarray, side: int, shape: tuple[int, ...], taken: Sequence[np.ndarray]) -> np.ndarray:
    x1, y1, x2, y2 = np.round(np.nan_to_num(box)).astype(int)
    places = [(x1, y1 - side), (x2 - side, y1 - side), (x1, y2), (x2 - side, y2), (x1, y1), (x2 - side, y2 - side)]
    limits = np.array([shape[1] - side, shape[0] - side])
    inside = [place for place in map(np.array, places) if (place >= 0).all() and (place <= limits).all()]
    free = [place for place in inside if all((abs(place - other) >= side).any() for other in taken)]
    return (free or inside or [np.clip(places[0], 0, np.maximum(limits, 0))])[0]

"""What the page's components show of predictions, and the files to download."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from mmuniqrnet.apis.inputs import Question
from mmuniqrnet.apis.outputs import AnswerFolder
from mmuniqrnet.structures.masks import area_share, decode_mask
from mmuniqrnet.utils.io import safe_name
from mmuniqrnet.visualization import heat_on_image

# The colours of Okabe and Ito, which people with any one type of colour blindness tell apart, without black.
COLOURS = ('#d55e00', '#56b4e9', '#f0e442', '#009e73', '#cc79a7', '#0072b2', '#e69f00', '#ffffff')
HEADERS = ('', 'Phrase', 'Answer', 'Score', 'Box (x1, y1, x2, y2)', 'Mask')
LONG_SIDE, GATE_LONG_SIDE = 1024, 480
MASK_OPACITY = 0.5


def labels_of(phrases: Sequence[str]) -> list[str]:
    """A label for each phrase, different even where the phrases are equal."""
    return [f'{number}: {phrase}' for number, phrase in enumerate(phrases, 1)]


def fit(picture: np.ndarray, long_side: int = LONG_SIDE) -> np.ndarray:
    """The picture (RGB uint8), scaled to the size at which it is shown."""
    return np.asarray(ImageOps.contain(Image.fromarray(picture), (long_side, long_side)))


def opacity_of(prediction: Mapping[str, Any], height: int, width: int) -> np.ndarray | None:
    """How much of an answer's colour lies on each pixel: box and mask in one map.

    Args:
        prediction: One of the inferencer's dictionaries.
        height: Of the picture as it is shown.
        width: Likewise.

    Returns:
        Float [height, width] in 0..1; None if the answer is refused or failed.
    """
    if 'error' in prediction or prediction['refused']:
        return None
    opacity = np.zeros((height, width), np.float32)
    rows, columns = prediction['size']
    if prediction['mask'] is not None:
        mask = decode_mask(prediction['mask'], rows, columns).astype(np.float32)
        opacity += MASK_OPACITY * cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    if prediction['box'] is not None:
        box = np.array(prediction['box']) * (width / columns, height / rows, width / columns, height / rows)
        x1, y1, x2, y2 = box.round().astype(int).tolist()
        cv2.rectangle(opacity, (x1, y1), (x2 - 1, y2 - 1), 1.0, thickness=max(2, min(height, width) // 160))
    return opacity


def table_rows(
    predictions: Sequence[Mapping[str, Any]], below: float, notes: Sequence[Sequence[str]]
) -> list[list[Any]]:
    """A row with the ``HEADERS`` for each prediction; boxes in pixels of the picture, the mask as share of its area."""
    rows = []
    for number, (prediction, noted) in enumerate(zip(predictions, notes), 1):
        error, score, box, mask = (prediction.get(key) for key in ('error', 'score', 'box', 'mask'))
        answer = error or (f'refused, below {below:.2f}' if prediction['refused'] else 'found')
        rows.append(
            [
                number,
                prediction['expression'],
                '; '.join([answer, *noted]),
                '' if score is None else f'{score:.3f}',
                '' if box is None else ', '.join(f'{side:.1f}' for side in box),
                '' if mask is None else f'{area_share(mask):.1%}',
            ]
        )
    return rows


def gate_pictures(picture: np.ndarray, gates: Mapping[str, np.ndarray]) -> list[tuple[np.ndarray, str]]:
    """A heat map (RGB uint8) and its caption for each gate, float [H, W] of the picture's size."""
    shown = fit(picture, GATE_LONG_SIDE)
    return [
        (heat_on_image(shown, values), f'{name.replace(".gates.", " ")}: {values.min():.2f} to {values.max():.2f}')
        for name, values in gates.items()
    ]


def write_files(
    folder: Path,
    predictions: Sequence[dict[str, Any]],
    shown: np.ndarray,
    opacities: Sequence[np.ndarray | None],
    made_for: str | None = None,
) -> list[Path]:
    """Write what the inferencer's ``out_dir`` gets, ``answers.png``, and a zip of all that.

    Args:
        folder: A new or empty one.
        predictions: The inferencer's dictionaries for one picture; ``image`` is its name, which names the files.
        shown: RGB uint8, see ``fit``.
        opacities: See ``opacity_of``.
        made_for: What the model was made for, if that is known.

    Returns:
        The zip first, then the files in it.
    """
    content = folder / f'{safe_name(Path(predictions[0]["image"]).stem, 60)}_answers'
    answers = AnswerFolder(content)
    for prediction in predictions:
        answers.add(Question(prediction['image'], 0, prediction['expression']), prediction)
    answers.finish(made_for)
    drawn = shown.astype(np.float32)
    for opacity, colour in zip(opacities, COLOURS):
        if opacity is not None:
            drawn += opacity[..., None] * (np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) - drawn)
    Image.fromarray(drawn.round().astype(np.uint8)).save(content / 'answers.png')
    files = sorted(path for path in content.rglob('*') if path.is_file())
    return [Path(shutil.make_archive(str(content), 'zip', content)), *files]

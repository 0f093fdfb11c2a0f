"""Make docs/images/photos.png: answers of the shipped model for photographs, on photographs that may be redistributed.

    python docs/make_photo_picture.py [--out docs/images/photos.png]

The expressions were written before the answers were seen. Two photographs side by side are one picture for the model.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.structures import Answer
from mmuniqrnet.visualization.answer_picture import PREDICTION_RGB, paint_answers
from mmuniqrnet.visualization.sheet import GAP, lay_out

FOLDER = Path(__file__).parent / 'tutorials' / 'photographs'
WIDTH, COLUMNS = 1660, 3
SIDE = (WIDTH - (COLUMNS - 1) * GAP) // COLUMNS
LEGEND = 'Box and mask that the model predicts for the expression, and its score:'
# The files from left to right, a minus sign for a mirrored one, and the expression.
ASKED = [
    (['astronaut'], 'the person'),
    (['cat'], 'the cat'),
    (['coffee'], 'the cup'),
    (['astronaut', '-astronaut'], 'person on the left'),
    (['astronaut', '-astronaut'], 'person on the right'),
    (['coffee', 'astronaut'], 'person to the right of the cup'),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--out', default='docs/images/photos.png', help='file to write or replace (default: %(default)s)'
    )
    args = parser.parse_args()
    ask = UniQRNetInferencer(weights='photos', device='cpu', show_progress=False)
    panels = [panel(picture_of(names), text, ask) for names, text in ASKED]
    rows = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    sheet = np.vstack([lay_out('' if i else LEGEND, of_one_height(row)) for i, row in enumerate(rows)])
    Image.fromarray(sheet).quantize(256).save(args.out, optimize=True)
    print(f'{args.out}: {sheet.shape[1]} x {sheet.shape[0]} pixels, {Path(args.out).stat().st_size // 1000} KB')


def picture_of(names: list[str]) -> np.ndarray:
    """RGB uint8 [H, W, 3]: the photographs side by side, at the height of the lowest."""
    pictures = [np.asarray(Image.open(FOLDER / f'{name.lstrip("-")}.jpg').convert('RGB')) for name in names]
    pictures = [picture[:, ::-1] if name.startswith('-') else picture for name, picture in zip(names, pictures)]
    height = min(picture.shape[0] for picture in pictures)
    return np.hstack([scaled(picture, height / picture.shape[0]) for picture in pictures])


def scaled(picture: np.ndarray, factor: float) -> np.ndarray:
    size = [round(side * factor) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


def panel(picture: np.ndarray, text: str, ask: UniQRNetInferencer) -> tuple[str, np.ndarray]:
    """Caption and picture, RGB uint8 [at most SIDE, SIDE, 3] or the other way round, of one expression."""
    picture = scaled(picture, SIDE / max(picture.shape[:2]))
    sample = ask(picture, text, return_datasamples=True)['predictions'][0]
    painted = paint_answers(picture, [(Answer.of_prediction(sample.pred_instances), PREDICTION_RGB)])
    return f'{text}: {float(sample.pred_instances.scores[0]):.2f}', painted


def of_one_height(row: list[tuple[str, np.ndarray]]) -> list[tuple[str, np.ndarray]]:
    """The panels of a row with white added below and to the right."""
    height = max(picture.shape[0] for _, picture in row)
    missing = [(height - picture.shape[0], SIDE - picture.shape[1]) for _, picture in row]
    return [
        (text, np.pad(picture, ((0, down), (0, right), (0, 0)), constant_values=255))
        for (text, picture), (down, right) in zip(row, missing)
    ]


if __name__ == '__main__':
    main()

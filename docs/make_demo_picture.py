"""Make docs/images/demo.png: answers of the shipped model for RefShapes on scenes that it was not trained on.

    python docs/make_demo_picture.py [--seed 7] [--out docs/images/demo.png]

The six expressions are spread evenly over the data, not selected by the answer. The picture is twice as wide as GitHub
shows it, so that it is sharp on screens of high resolution.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.datasets.refshapes import RefShapesDataset
from mmuniqrnet.engine.hooks.visualization import evenly_spread
from mmuniqrnet.structures import Answer
from mmuniqrnet.utils.picture_files import read_image
from mmuniqrnet.visualization.answer_picture import PREDICTION_RGB, TRUTH_RGB, compute_ious, paint_answers
from mmuniqrnet.visualization.sheet import GAP, lay_out

WIDTH, ROWS, COLUMNS = 1660, 2, 3
SIDE = (WIDTH - (COLUMNS - 1) * GAP) // COLUMNS
LEGEND = 'Green: true box. Orange: predicted box and mask. IoU of boxes, of masks:'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seed', type=int, default=7, help='seed of the data (default: %(default)s)')
    parser.add_argument('--out', default='docs/images/demo.png', help='file to write or replace (default: %(default)s)')
    args = parser.parse_args()
    ask = UniQRNetInferencer(weights='shapes', show_progress=False)
    with tempfile.TemporaryDirectory() as folder:
        data = RefShapesDataset(data_root=f'{folder}/refshapes', split='val', seed=args.seed, num_images=dict(val=60))
        items = [data.get_data_info(index) for index in evenly_spread(len(data), ROWS * COLUMNS)]
        panels = [panel(item, read_image(item['img_path']), ask) for item in items]
    sheet = lay_out(LEGEND, panels, columns=COLUMNS)
    # 256 colours are enough for these scenes, and the file is a third of the size
    Image.fromarray(sheet).quantize(256, dither=Image.Dither.NONE).save(args.out, optimize=True)
    print(f'{args.out}: {sheet.shape[1]} x {sheet.shape[0]} pixels, {Path(args.out).stat().st_size // 1000} KB')


def panel(item: dict, image: np.ndarray, ask: UniQRNetInferencer) -> tuple[str, np.ndarray]:
    """Caption and picture, RGB uint8 [SIDE, SIDE, 3], of one expression."""
    sample = ask(image, item['text'], return_datasamples=True)['predictions'][0]
    truth = Answer.of_truth(item['instances'], *image.shape[:2])
    prediction = Answer.of_prediction(sample.pred_instances)
    ious = compute_ious(truth, prediction)
    factor = SIDE // max(image.shape[:2])
    canvas = image.repeat(factor, axis=0).repeat(factor, axis=1)
    painted = paint_answers(canvas, [(replace(truth, mask=None), TRUTH_RGB), (prediction, PREDICTION_RGB)], factor)
    square = np.full((SIDE, SIDE, 3), 255, np.uint8)
    square[: painted.shape[0], : painted.shape[1]] = painted
    return f'{item["text"]}: {ious["box"]:.2f}, {ious["mask"]:.2f}', square


if __name__ == '__main__':
    main()

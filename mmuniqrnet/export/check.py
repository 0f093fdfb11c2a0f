"""Comparison of an export with the network that it was made from, on real pictures and texts."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from PIL import Image

from mmuniqrnet.apis.image_pipeline import ImagePipeline
from mmuniqrnet.apis.inferencer import UniQRNetInferencer
from mmuniqrnet.datasets.refshapes import make_refshapes
from mmuniqrnet.models.uniqrnet import UniQRNet
from mmuniqrnet.structures import Placement
from mmuniqrnet.structures.masks import decode_mask
from mmuniqrnet.structures.shared_images import image_rows, take_rows
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.orientation import TAG

from .network import NetworkInputs
from .predictor import OnnxPredictor

# The largest allowed difference between an output of the graph and PyTorch's.
TOLERANCE = 1e-3
# The largest allowed mean difference between the predictor's image and the pipeline's, in standard deviations. PNG is
# decoded identically by both, but two JPEG decoders may differ by a grey level (0.02) at single pixels.
IMAGE_TOLERANCE = 2e-3
# The largest allowed differences between the predictor's answers and the inferencer's. They are larger than TOLERANCE
# for the same reason.
ANSWERS = {'box (share of the longer side)': 1e-2, 'score': 1e-2, 'mask (share of the pixels)': 1e-2}
BATCHES = (1, 3)

ImageAndExpression = tuple[str, str]
Run = Callable[[NetworkInputs], Mapping[str, np.ndarray]]


class Difference(NamedTuple):
    """The largest difference found in one quantity (``what``), and the largest one allowed (``limit``)."""

    what: str
    value: float
    limit: float


def refshapes_questions(folder: Path, count: int = 6) -> list[ImageAndExpression]:
    """Make pictures in ``folder``, and return expressions about them: (path, expression)."""
    root = folder / 'refshapes'
    make_refshapes(str(root), num_images=dict(val=(count + 1) // 2), workers=1)
    files = {image['id']: image['file_name'] for image in json.loads((root / 'instances.json').read_text())['images']}
    asked: dict[int, list[str]] = {}
    for ref in json.loads((root / 'refs.json').read_text()):
        asked.setdefault(ref['image_id'], []).extend(sentence['raw'] for sentence in ref['sentences'])
    # The shortest and the longest text of each picture, so that lengths differ within a batch.
    questions = [
        (str(root / 'images' / files[image]), text)
        for image, texts in asked.items()
        for text in (min(texts, key=len), max(texts, key=len))
    ]
    return questions[:count]


def turned(question: ImageAndExpression, folder: Path) -> ImageAndExpression:
    """The same question about a copy of the picture in ``folder``, whose EXIF orientation rotates it clockwise."""
    path, expression = question
    exif = Image.Exif()
    exif[TAG] = 6
    copy = folder / 'turned.png'
    with Image.open(path) as picture:
        picture.convert('RGB').save(copy, exif=exif)
    return str(copy), expression


def in_batches(questions: Sequence[ImageAndExpression]) -> list[list[ImageAndExpression]]:
    """Each question alone, and all in batches of three; the last batch is filled up with the first questions."""
    repeated = [*questions, *questions, *questions]
    return [repeated[i : i + size] for size in BATCHES for i in range(0, len(questions), size)]


@torch.no_grad()
def compare_network(
    model: UniQRNet, pipeline: Sequence[dict], questions: Sequence[ImageAndExpression], run: Run
) -> list[Difference]:
    """Compare the outputs of an exported network, ``run``, with the model's, on inputs from its test pipeline.

    The model's texts are padded to ``max_length``, those of ``run`` to the longest of the batch only.
    """
    largest: dict[str, float] = {}
    for batch in in_batches(questions):
        images, samples = prepare(model, pipeline, batch)
        out = model(images, samples, mode='tensor')
        expected = {}
        if 'boxes' in out:
            expected['boxes'] = bbox_cxcywh_to_xyxy(out['boxes'])
        if 'score_logits' in out:
            expected['scores'] = out['score_logits'].sigmoid()
        if 'mask_logits' in out:
            expected['mask_logits'] = out['mask_logits']
        text = model.text_encoder.tokenizer(
            [expression for _, expression in batch],
            padding=True,
            truncation=True,
            max_length=model.text_encoder.max_length,
            return_tensors='pt',
        )
        got = run(NetworkInputs(images, text['input_ids'], text['attention_mask'], windows(samples)))
        for name, value in expected.items():
            difference = float(np.abs(value.numpy() - got[name]).max())
            largest[name] = max(largest.get(name, 0.0), difference if np.isfinite(difference) else float('inf'))
    return [Difference(name, value, TOLERANCE) for name, value in largest.items()]


def compare_preparation(
    model: UniQRNet, pipeline: Sequence[dict], questions: Sequence[ImageAndExpression], predictor: OnnxPredictor
) -> list[Difference]:
    """Compare the inputs that the predictor prepares from stored pixels and texts with those of the test pipeline."""
    image, window, tokens = 0.0, 0.0, 0.0
    for path, expression in questions:
        images, samples = prepare(model, pipeline, [(path, expression)])
        got = predictor.inputs(predictor.place(path, 'stored'), [expression])
        ids, mask = model.text_encoder.tokenize([expression])
        image = max(image, float(np.abs(images.numpy() - got['image']).mean()))
        window = max(window, float(np.abs(windows(samples).numpy() - got['window']).max()))
        length = got['input_ids'].shape[1]
        same = np.array_equal(ids[:, :length], got['input_ids']) and int(mask.sum()) == int(got['attention_mask'].sum())
        tokens = max(tokens, float(not same))
    return [
        Difference('predictor: image (mean)', image, IMAGE_TOLERANCE),
        Difference('predictor: place (pixels)', window, 0.0),
        Difference('predictor: tokens', tokens, 0.0),
    ]


def compare_answers(
    inferencer: UniQRNetInferencer, questions: Sequence[ImageAndExpression], predictor: OnnxPredictor
) -> list[Difference]:
    """Compare the predictor's answers with the inferencer's, in original pixels."""
    box, score, pixels = [], [], []
    for path, expression in questions:
        (expected,) = inferencer(path, expression)['predictions']
        (got,) = predictor(path, expression)
        if 'error' in expected:
            raise UserError(expected['error'])
        score.append(abs(expected['score'] - got['score']))
        size = expected['size']
        if (got['size'], got['frame']) != (size, expected['frame']):
            raise UserError(
                f'the export reads {path} as {got["size"]} pixels, {got["frame"]}, but PyTorch reads it as {size} '
                f'pixels, {expected["frame"]}, so nothing was written.'
            )
        if expected['box'] is not None and got['box'] is not None:
            box.append(max(abs(a - b) for a, b in zip(expected['box'], got['box'])) / max(size))
        if expected['mask'] is not None and got['mask'] is not None:
            first, second = (decode_mask(answer['mask'], *size) for answer in (expected, got))
            pixels.append(float((first != second).mean()))
    found = dict(zip(ANSWERS, (box, score, pixels)))
    return [Difference(f'answers: {what}', max(values), ANSWERS[what]) for what, values in found.items() if values]


def prepare(
    model: UniQRNet, pipeline: Sequence[dict], questions: Sequence[ImageAndExpression]
) -> tuple[torch.Tensor, list]:
    """Images [B, 3, H, W] and data samples, prepared by the test pipeline."""
    with DefaultScope.overwrite_default_scope('mmuniqrnet'):
        load = ImagePipeline(pipeline)
        prepared = [load(path, text, 'stored') for path, text in questions]
    items = [dict(inputs=image.inputs, data_samples=image.data_sample) for image in prepared]
    data = model.data_preprocessor(pseudo_collate(items), False)
    images, samples = data['inputs'], data['data_samples']
    return take_rows(images, image_rows(images, samples)), samples


def windows(samples: Sequence[Any]) -> torch.Tensor:
    """[B, 4] as in :class:`NetworkInputs`."""
    places = [Placement.of(sample) for sample in samples]
    return torch.tensor(
        [[p.offset[1], p.offset[0], p.offset[1] + p.img_shape[1], p.offset[0] + p.img_shape[0]] for p in places]
    )


def describe(differences: Sequence[Difference]) -> str:
    """One line for each difference."""
    width = max(len(difference.what) for difference in differences)
    return '\n'.join(f'  {d.what:{width}}  {d.value:.2e}  (at most {d.limit:.0e})' for d in differences)


def check_differences(differences: Sequence[Difference]) -> None:
    """Check that no difference is larger than its limit.

    Raises:
        UserError: Some are; the message names them.
    """
    wrong = [f'{d.what} by {d.value:.2e} (at most {d.limit:.0e})' for d in differences if not d.value <= d.limit]
    if wrong:
        raise UserError(f'the outputs of export and PyTorch differ, so nothing was written: {", ".join(wrong)}.')

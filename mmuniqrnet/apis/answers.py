"""Answers as plain dictionaries, in pixels of the original images."""

from typing import Any, NamedTuple

import numpy as np
from mmdet.structures import DetDataSample

from mmuniqrnet.evaluation.truth import encode_mask


class Question(NamedTuple):
    """One expression about one image.

    Attributes:
        image: The image's path; its index where it is no file.
        image_index: Its index among all images.
        expression: What is asked.
    """

    image: str | int
    image_index: int
    expression: str


def to_dict(question: Question, sample: DetDataSample, refuse_below: float | None = None) -> dict[str, Any]:
    """The answer of one expression; all but ``gates`` can be written as JSON.

    Args:
        question: What was asked.
        sample: Its metainfo has ``ori_shape`` and maybe ``gates`` (float [H, W] by name), its ``pred_instances`` one
            answer in original pixels.
        refuse_below: An answer with a lower score is refused; None = none is.

    Returns:
        ``image``, ``image_index``, ``expression``; ``size`` [H, W] of the image; ``box`` [x1, y1, x2, y2], ``score``
        and ``mask`` (COCO's compressed RLE, counts as str), each None if the network gives none; ``refused``: if so,
        box and mask are None; ``gates`` if the sample has them. If the network's numbers are not finite,
        ``error`` instead.
    """
    height, width = sample.ori_shape[:2]
    found = sample.pred_instances
    score = float(found.scores[0]) if 'scores' in found else None
    box = found.bboxes[0].tolist() if 'bboxes' in found else None
    if not np.isfinite([*(box or []), score or 0.0]).all():
        return failure(question, f'the network answers with box {box} and score {score}: its weights are broken.')
    refused = refuse_below is not None and score is not None and score < refuse_below
    mask = encode_mask(found.masks[0].cpu().numpy()) if 'masks' in found and not refused else None
    answer = dict(
        **question._asdict(),
        size=[int(height), int(width)],
        box=None if refused else box,
        score=score,
        refused=refused,
        mask=mask,
    )
    return answer | dict(gates=sample.gates) if 'gates' in sample else answer


def failure(question: Question, error: str) -> dict[str, Any]:
    """What stands in an answer's place."""
    return dict(**question._asdict(), error=error)

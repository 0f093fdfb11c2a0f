"""An answer to an expression: the prediction with the highest score, and refusal by score."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from mmuniqrnet.utils.errors import UserError

from .truth import truth_mask


def best_index(scores: Any | None) -> int:
    """The index of the prediction that is the answer: the highest of the scores [n], or 0 without scores."""
    return 0 if scores is None else int(scores.argmax())


def is_refused(score: float | None, refuse_below: float | None) -> bool:
    """Whether an answer means "there is no such object": its score is below the threshold.

    False if the score or the threshold is None.
    """
    return score is not None and refuse_below is not None and score < refuse_below


def check_refuse_below(refuse_below: Any, name: str = 'refuse_below', any_scale: bool = False) -> None:
    """Check that this is a threshold of scores, or None.

    Args:
        refuse_below: The value.
        name: What the message calls it.
        any_scale: Whether it may be any finite number, for the scores of other systems; else it is from 0 to 1.

    Raises:
        UserError: It is something else.
    """
    if refuse_below is None:
        return
    is_number = isinstance(refuse_below, Real) and not isinstance(refuse_below, bool) and math.isfinite(refuse_below)
    if not is_number or not (any_scale or 0 <= float(refuse_below) <= 1):
        wanted = 'a finite number' if any_scale else 'a number from 0 to 1'
        raise UserError(f'{name} {refuse_below!r:.40}: a threshold of scores is {wanted}.')


@dataclass(frozen=True)
class Answer:
    """The box and the mask of an expression: its ground truth, or a prediction.

    Attributes:
        boxes: xyxy, continuous, in pixels of the image; several if the ground truth is several objects.
        mask: bool [H, W] of the image's size, or None.
        score: 0..1, or None.
    """

    boxes: Sequence[Sequence[float]] = ()
    mask: np.ndarray | None = None
    score: float | None = None

    @classmethod
    def of_truth(cls, instances: Sequence[Mapping[str, Any]], height: int, width: int) -> 'Answer':
        """The ground truth, from the ``instances`` of an item, in pixels of an image [height, width]."""
        boxes = [list(map(float, i['bbox'])) for i in instances if i.get('bbox') is not None]
        return cls(boxes, truth_mask(instances, height, width))

    @classmethod
    def of_prediction(cls, pred_instances: Mapping[str, Any]) -> 'Answer | None':
        """The best of ``pred_instances`` (``bboxes`` [n, 4], ``masks`` [n, H, W], ``scores`` [n]); None if n = 0."""
        fields = {key: pred_instances[key] for key in ('bboxes', 'masks', 'scores') if key in pred_instances}
        fields = {
            key: value.detach().cpu().numpy() if hasattr(value, 'detach') else np.asarray(value)
            for key, value in fields.items()
        }
        if not fields or min(map(len, fields.values())) == 0:
            return None
        best = best_index(fields.get('scores'))
        return cls(
            boxes=[fields['bboxes'][best].tolist()] if 'bboxes' in fields else [],
            mask=fields['masks'][best].astype(bool) if 'masks' in fields else None,
            score=float(fields['scores'][best]) if 'scores' in fields else None,
        )


def without_low_score(answer: Answer, threshold: float) -> tuple[Answer, str]:
    """The answer and an empty note; if its score is below ``threshold``, no box and mask, and a note that says so."""
    if not is_refused(answer.score, threshold):
        return answer, ''
    return replace(answer, boxes=(), mask=None), f'below {threshold:.2f}: not drawn'

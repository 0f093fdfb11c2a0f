"""From a picture and lines of text to predictions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmuniqrnet.serving.limits import check_expressions
from mmuniqrnet.serving.models import ask_without_refusal
from mmuniqrnet.utils.errors import UserError

if TYPE_CHECKING:
    from mmuniqrnet.apis import UniQRNetInferencer

MAX_PHRASES = 8
MAX_CHARACTERS = 300
# The masks of a large picture take much memory, so few are computed at once.
BATCH_SIZE = 4


def phrases_of(text: str | None) -> list[str]:
    """The phrases, one a line; empty lines are ignored.

    Raises:
        UserError: There is none, there are too many, or one is too long.
    """
    phrases = [line for line in (text or '').splitlines() if line.strip()]
    if not phrases:
        raise UserError('There is no phrase yet: type what to look for, each phrase on a line of its own.')
    return check_expressions(phrases, MAX_PHRASES, MAX_CHARACTERS, noun='phrase')


def ask(
    inferencer: 'UniQRNetInferencer', picture: np.ndarray, name: str, phrases: Sequence[str]
) -> list[dict[str, Any]]:
    """The inferencer's prediction for each phrase, none of them refused.

    Args:
        inferencer: The model.
        picture: RGB uint8 [H, W, 3].
        name: File name of the picture.
        phrases: One expression each.
    """
    # The page applies the threshold later, and again whenever it changes.
    (predictions,) = ask_without_refusal(inferencer, [picture], [phrases], BATCH_SIZE)
    return [dict(prediction, image=name) for prediction in predictions]


def gates_of(inferencer: 'UniQRNetInferencer', picture: np.ndarray, phrase: str) -> dict[str, np.ndarray]:
    """The spatial gates for one phrase: name, such as ``backbone.gates.0``, -> float [H, W] of the picture's size.

    Raises:
        UserError: The model has none.
    """
    prediction = inferencer([picture], [[phrase]], return_gates=True)['predictions'][0]
    if not prediction.get('gates'):
        raise UserError(prediction.get('error', 'This model has no spatial gates to show.'))
    return prediction['gates']


def reading_notes(inferencer: 'UniQRNetInferencer', phrase: str) -> list[str]:
    """What the model does not read of a phrase: words that it does not know, and an end that is cut off."""
    return inferencer.read(phrase).notes

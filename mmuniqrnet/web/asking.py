"""From a picture and lines of text to predictions."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

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
    phrases = [' '.join(line.split()) for line in (text or '').splitlines() if line.strip()]
    if not phrases:
        raise UserError('There is no phrase yet: type what to look for, each phrase on a line of its own.')
    if len(phrases) > MAX_PHRASES:
        raise UserError(f'These are {len(phrases)} phrases: ask at most {MAX_PHRASES} at a time.')
    for number, phrase in enumerate(phrases, 1):
        if len(phrase) > MAX_CHARACTERS:
            raise UserError(f'Phrase {number} has {len(phrase)} characters: shorten it to at most {MAX_CHARACTERS}.')
    return phrases


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
    # No score is lower than 0: the page applies the threshold later, and again whenever it changes.
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # of what is not read: the page's table says it
        predictions = inferencer([picture], [list(phrases)], batch_size=BATCH_SIZE, refuse_below=0.0)['predictions']
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

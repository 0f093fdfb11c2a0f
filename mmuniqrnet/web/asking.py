"""From a picture and lines of text to answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmuniqrnet.utils.errors import UserError

from .palette import COLOURS

if TYPE_CHECKING:
    from mmuniqrnet.apis import UniQRNetInferencer

MAX_PHRASES = len(COLOURS)
MAX_LETTERS = 300
# Of a large picture's masks, few fit into memory at once.
BATCH_SIZE = 4


@dataclass(frozen=True)
class Answers:
    """What was found on one picture.

    Attributes:
        picture: RGB uint8 [H, W, 3].
        name: The picture's, without any folder.
        predictions: The inferencer's dictionaries, one a phrase, none refused.
    """

    picture: np.ndarray
    name: str
    predictions: list[dict[str, Any]]

    def refusing(self, below: float) -> list[dict[str, Any]]:
        """The predictions, those with a score lower than ``below`` refused, as the inferencer would have done."""
        return [dict(p, refused=True, box=None, mask=None) if _refused(p, below) else p for p in self.predictions]


def _refused(prediction: Mapping[str, Any], below: float) -> bool:
    return prediction.get('score') is not None and prediction['score'] < below


def phrases_of(text: str | None) -> list[str]:
    """The phrases, one a line; empty lines are passed over.

    Raises:
        UserError: There is none, there are too many, or one is too long.
    """
    phrases = [' '.join(line.split()) for line in (text or '').splitlines() if line.strip()]
    if not phrases:
        raise UserError('There is no phrase yet: type what to look for, each phrase on a line of its own.')
    if len(phrases) > MAX_PHRASES:
        raise UserError(f'These are {len(phrases)} phrases: ask at most {MAX_PHRASES} at a time.')
    for number, phrase in enumerate(phrases, 1):
        if len(phrase) > MAX_LETTERS:
            raise UserError(f'Phrase {number} has {len(phrase)} characters: shorten it to at most {MAX_LETTERS}.')
    return phrases


def ask(inferencer: 'UniQRNetInferencer', picture: np.ndarray, name: str, phrases: Sequence[str]) -> Answers:
    """Ask every phrase of the picture (RGB uint8 [H, W, 3])."""
    # no score is lower than 0, so that all can be shown later
    predictions = inferencer([picture], [list(phrases)], batch_size=BATCH_SIZE, refuse_below=0.0)['predictions']
    return Answers(picture, name, [dict(prediction, image=name) for prediction in predictions])


def gates_for(inferencer: 'UniQRNetInferencer', picture: np.ndarray, phrase: str) -> dict[str, np.ndarray]:
    """The spatial gates under one phrase: name, such as ``backbone.gates.0``, -> float [H, W] of the picture's size.

    Raises:
        UserError: The model has none.
    """
    prediction = inferencer([picture], [[phrase]], return_gates=True)['predictions'][0]
    if not prediction.get('gates'):
        raise UserError(prediction.get('error', 'This model has no spatial gates to show.'))
    return prediction['gates']


def unknown_words(inferencer: 'UniQRNetInferencer', phrases: Sequence[str]) -> list[str]:
    """Words that are nothing but letters to the model's tokenizer, or nothing at all; each once."""
    tokenizer = inferencer.model.text_encoder.tokenizer
    words = dict.fromkeys(word.strip('.,;:!?"()') for phrase in phrases for word in phrase.split())
    return [word for word in words if _is_spelled(tokenizer.tokenize(word), tokenizer.unk_token)]


def cut_phrases(inferencer: 'UniQRNetInferencer', phrases: Sequence[str]) -> list[int]:
    """The numbers, from 1 on, of the phrases whose end the model does not read."""
    encoder = inferencer.model.text_encoder
    return [
        number
        for number, ids in enumerate(encoder.tokenizer(list(phrases))['input_ids'], 1)
        if len(ids) > encoder.max_length
    ]


def _is_spelled(pieces: list[str], unknown: str | None) -> bool:
    letters = [piece for piece in pieces[1:] if len(piece.removeprefix('##')) == 1]
    return unknown in pieces or len(letters) > 1 or len(letters) == len(pieces) - 1 == len(pieces[0]) == 1

"""Whether a score can be trusted: pure functions on arrays, of scores and of what came of the answers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

BINS = 10


def auroc(there: Sequence[float], absent: Sequence[float]) -> float:
    """How likely the score of an expression with a target is above that of one without, a tie counting half.

    It is the area under the curve of T-acc over 1 - N-acc as the threshold moves: 1 where some threshold is always
    right, 0.5 where the score says nothing.
    """
    lower = np.sort(np.asarray(absent, dtype=np.float64))
    below = np.searchsorted(lower, there, side='left')
    up_to = np.searchsorted(lower, there, side='right')
    return float((below + up_to).mean() / (2 * len(lower)))


def expected_calibration_error(scores: Sequence[float], qualities: Sequence[float], bins: int = BINS) -> float:
    """How far scores in 0..1 are from what they foretell, on average.

    The expressions are sorted into ``bins`` of equal width by score, the upper edge belonging to the next bin (1 to
    the last); the result is the mean over expressions of their bin's |mean score - mean quality|.
    """
    scores, qualities = (np.asarray(values, dtype=np.float64) for values in (scores, qualities))
    place = np.clip((scores * bins).astype(int), 0, bins - 1)
    return float(np.abs(np.bincount(place, weights=scores - qualities, minlength=bins)).sum() / len(scores))


class Threshold(NamedTuple):
    """What refusing below ``refuse_below`` gives; N-acc, T-acc and their mean, the balanced accuracy, in per cent."""

    refuse_below: float
    n_acc: float
    t_acc: float

    @property
    def balanced(self) -> float:
        return (self.n_acc + self.t_acc) / 2


def at_threshold(records: Sequence[Mapping[str, Any]], refuse_below: float) -> Threshold:
    """N-acc and T-acc as ``ReferringMetric(refuse_below=...)`` counts them: an empty mask is a refusal, too.

    ``records`` are those of ``score_expression``, some with a target and some without, all with a score.
    """
    scores, there, empty = _columns(records)
    refused = empty | (scores < refuse_below)
    return Threshold(refuse_below, *(float(100 * part.mean()) for part in (refused[~there], ~refused[there])))


def best_threshold(records: Sequence[Mapping[str, Any]]) -> Threshold:
    """The threshold with the best balanced accuracy; of several the lowest, which refuses least.

    Of the numbers between two neighbouring scores it is the one with the fewest decimals.
    """
    scores, there, empty = _columns(records)
    levels = np.unique(scores)
    # Refused by its score is who stands before the place of a level.
    open_scores = [np.sort(scores[chosen & ~empty]) for chosen in (~there, there)]
    refused = [np.searchsorted(part, levels) for part in open_scores]
    n_acc = (refused[0] + (empty & ~there).sum()) / (~there).sum()
    t_acc = (len(open_scores[1]) - refused[1]) / there.sum()
    best = int(np.argmax(n_acc + t_acc))
    return at_threshold(records, 0.0 if best == 0 else _short_number(levels[best - 1], levels[best]))


def _columns(records: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = np.array([record['score'] for record in records], dtype=np.float64)
    return scores, *(np.array([bool(record[key]) for record in records]) for key in ('targets', 'empty'))


def _short_number(low: float, high: float) -> float:
    """The number with the fewest decimals that is above ``low`` and not above ``high``."""
    for decimals in range(1, 17):
        number = (math.floor(low * 10**decimals) + 1) / 10**decimals
        if low < number <= high:
            return number
    return float(high)

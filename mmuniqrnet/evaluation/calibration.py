"""How well scores are calibrated, and the threshold below which an answer is refused: pure functions on arrays."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

BINS = 10


def auroc(with_target: Sequence[float], without_target: Sequence[float]) -> float:
    """Probability that an expression with a target has a higher score than one without; a tie counts as one half.

    This is the area under the curve of T-acc over 1 - N-acc as the threshold varies: 1 if some threshold separates the
    two kinds, 0.5 if the score does not depend on the kind.

    Args:
        with_target: Scores of the expressions with a target, at least one.
        without_target: Scores of the expressions without, at least one.
    """
    lower = np.sort(np.asarray(without_target, dtype=np.float64))
    below = np.searchsorted(lower, with_target, side='left')
    up_to = np.searchsorted(lower, with_target, side='right')
    return float((below + up_to).mean() / (2 * len(lower)))


def expected_calibration_error(scores: Sequence[float], qualities: Sequence[float], bins: int = BINS) -> float:
    """Expected calibration error: the mean over expressions of |mean score - mean quality| of their bin.

    Args:
        scores: Predicted qualities in 0..1, [N].
        qualities: Measured qualities in 0..1, [N].
        bins: Number of bins of equal width by score. A score on the edge of two bins belongs to the upper one; 1
            belongs to the last.
    """
    predicted, measured = (np.asarray(values, dtype=np.float64) for values in (scores, qualities))
    bin_of = np.clip((predicted * bins).astype(int), 0, bins - 1)
    return float(np.abs(np.bincount(bin_of, weights=predicted - measured, minlength=bins)).sum() / len(predicted))


class Threshold(NamedTuple):
    """A threshold, and what refusing below it gives in per cent.

    Attributes:
        refuse_below: Answers with a lower score are refused.
        n_acc: N-acc, the share of the expressions without a target that are refused.
        t_acc: T-acc, the share of the others that are not refused.
    """

    refuse_below: float
    n_acc: float
    t_acc: float

    @property
    def balanced(self) -> float:
        """The balanced accuracy: mean of N-acc and T-acc."""
        return (self.n_acc + self.t_acc) / 2


def at_threshold(records: Sequence[Mapping[str, Any]], refuse_below: float) -> Threshold:
    """N-acc and T-acc as ``ReferringMetric(refuse_below=...)`` counts them: an empty mask is also a refusal.

    Args:
        records: Records of ``score_expression``, some with a target and some without, all with a score.
        refuse_below: The threshold.
    """
    scores, has_target, empty = _columns(records)
    refused = empty | (scores < refuse_below)
    return Threshold(refuse_below, *(float(100 * part.mean()) for part in (refused[~has_target], ~refused[has_target])))


def best_threshold(records: Sequence[Mapping[str, Any]]) -> Threshold:
    """The threshold with the highest balanced accuracy; the lowest one, which refuses least, if several have it.

    All thresholds between two neighbouring scores refuse the same; the one with the fewest decimals is taken.

    Args:
        records: See ``at_threshold``.
    """
    scores, has_target, empty = _columns(records)
    levels = np.unique(scores)
    # For each level, the number of scores below it: these are refused if the level is the threshold.
    sorted_scores = [np.sort(scores[chosen & ~empty]) for chosen in (~has_target, has_target)]
    refused = [np.searchsorted(part, levels) for part in sorted_scores]
    n_acc = (refused[0] + (empty & ~has_target).sum()) / (~has_target).sum()
    t_acc = (len(sorted_scores[1]) - refused[1]) / has_target.sum()
    best = int(np.argmax(n_acc + t_acc))
    return at_threshold(records, 0.0 if best == 0 else _short_number(levels[best - 1], levels[best]))


def _columns(records: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, whether there is a target, and whether the model found nothing by itself; each [N]."""
    scores = np.array([record['score'] for record in records], dtype=np.float64)
    return scores, *(np.array([bool(record[key]) for record in records]) for key in ('targets', 'empty'))


def _short_number(low: float, high: float) -> float:
    """The number with the fewest decimals that is greater than ``low`` and at most ``high``."""
    for decimals in range(1, 17):
        number = (math.floor(low * 10**decimals) + 1) / 10**decimals
        if low < number <= high:
            return number
    return float(high)

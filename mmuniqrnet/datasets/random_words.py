"""Random choices of words and forms, for the makers of expressions: RefShapes', and that of detection data."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

Option = TypeVar('Option')


class Draw:
    """Random choices from one generator; each takes one number of it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def pick(self, options: Sequence[Option]) -> Option:
        """One of the options, each equally often: what is listed twice, twice as often."""
        return options[int(self.rng.random() * len(options))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def weighted(self, weights: Mapping[Option, float]) -> Option:
        """One of the keys, as often as their weights say."""
        bounds = np.cumsum(list(weights.values()))
        return list(weights)[int(np.searchsorted(bounds, self.rng.random() * bounds[-1], side='right'))]

"""Which objects a word or phrase fits: surely, or perhaps. Sets of objects are bit sets (bit i = object i)."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np


class Fit(NamedTuple):
    """The objects that something surely fits, and those that it may fit (a superset)."""

    sure: int
    maybe: int

    @property
    def only(self) -> int | None:
        """The one object that it fits, if it may fit no other; else None."""
        single = self.sure == self.maybe and self.sure.bit_count() == 1
        return self.sure.bit_length() - 1 if single else None


NOTHING = Fit(0, 0)


def bits(flags: np.ndarray) -> int:
    """A bool vector as a bit set."""
    return bits_of(np.flatnonzero(flags))


def bits_of(indices: Iterable[int]) -> int:
    """Indices, each once, as a bit set."""
    return sum(1 << int(i) for i in indices)


def members(group: int) -> Iterator[int]:
    """The objects of a bit set, in order."""
    while group:
        low = group & -group
        yield low.bit_length() - 1
        group ^= low

"""Relations of an object to one other object, its anchor, each with a margin."""

import numpy as np

from .fits import NOTHING, Fit, members
from .places import Places

RELATIONS = ('left of', 'right of', 'above', 'below', 'next to', 'closest to', 'with')
NEAR = 0.5  # a gap between neighbours, in parts of the smaller one's width
FARTHER = 2.0  # the ratio of distances, from the nearest to all others
FAR_GAP = 0.15  # and the gap of all others, in parts of the image's width
REACH = 0.3  # the widest gap to an anchor that is named, in parts of the image's width
OVERLAP = 0.3  # of the smaller height: neighbours are side by side
INSIDE = 0.6  # the part of what is carried that lies within the box of who carries it


class Neighbours:
    """Relations in one picture, measured in pixels."""

    def __init__(self, places: Places, width: int) -> None:
        self.places, self.width = places, width
        box = places.pixels
        self.low, self.high = box[:, :2], box[:, 2:]
        self.side = self.high - self.low
        self.centre = (self.low + self.high) / 2

    def related(self, group: Fit, relation: str, anchor: int) -> Fit:
        """The one of the group that has the relation to the anchor, if no other may have it."""
        group = Fit(group.sure & ~(1 << anchor), group.maybe & ~(1 << anchor))
        if relation == 'closest to' and group.maybe.bit_count() < 2:
            return NOTHING
        for i in members(group.sure):
            others = [j for j in members(group.maybe) if j != i]
            if self._has(i, relation, anchor, others):
                return Fit(1 << i, 1 << i)
        return NOTHING

    def _has(self, i: int, relation: str, anchor: int, others: list[int]) -> bool:
        if relation == 'next to':
            return self._beside(i, anchor) and self._nearest(i, anchor, others)
        if relation == 'closest to':
            return self._nearest(i, anchor, others)
        if relation == 'with':
            near = self._inside(anchor, i) >= INSIDE and not self._inside(i, anchor) > 0.5
            return near and all(self._gap(j, anchor) > 0.02 * self.width for j in others)
        side = {'left of': 'left', 'right of': 'right', 'above': 'top', 'below': 'bottom'}[relation]
        axis = 0 if side in ('left', 'right') else 1
        sign = -1 if side in ('left', 'top') else 1
        gap = self.centre[i] - self.centre[anchor]
        clear = self.places.before[side][i, anchor] and abs(gap[1 - axis]) <= abs(gap[axis])
        clear = clear and self._gap(i, anchor) <= REACH * self.width
        apart = self._overlap(i, anchor, axis) <= 0.5
        return bool(clear and apart and all(sign * (self.centre[j] - self.centre[anchor])[axis] <= 0 for j in others))

    def _overlap(self, i: int, j: int, axis: int) -> float:
        """How much two boxes overlap along an axis, in parts of the shorter side."""
        common = min(self.high[i, axis], self.high[j, axis]) - max(self.low[i, axis], self.low[j, axis])
        return float(max(common, 0) / max(min(self.side[i, axis], self.side[j, axis]), 1e-9))

    def _gap(self, i: int, j: int) -> float:
        """Pixels between two boxes; 0 if they touch or overlap."""
        between = np.maximum(np.maximum(self.low[i] - self.high[j], self.low[j] - self.high[i]), 0)
        return float(np.hypot(*between))

    def _inside(self, i: int, j: int) -> float:
        """The part of box i that lies in box j."""
        common = np.minimum(self.high[i], self.high[j]) - np.maximum(self.low[i], self.low[j])
        return float(np.maximum(common, 0).prod() / max(self.side[i].prod(), 1e-9))

    def _beside(self, i: int, anchor: int) -> bool:
        near = self._gap(i, anchor) <= NEAR * min(self.side[i, 0], self.side[anchor, 0])
        apart = any(self.places.before[side][i, anchor] for side in ('left', 'right'))
        mixed = max(self._inside(i, anchor), self._inside(anchor, i)) > OVERLAP
        return near and apart and not mixed and self._overlap(i, anchor, 1) >= OVERLAP

    def _nearest(self, i: int, anchor: int, others: list[int]) -> bool:
        def distance(j: int) -> float:
            return float(np.hypot(*(self.centre[j] - self.centre[anchor])))

        return all(
            distance(j) >= FARTHER * distance(i)
            and self._gap(j, anchor) >= FARTHER * self._gap(i, anchor) + FAR_GAP * self.width
            for j in others
        )

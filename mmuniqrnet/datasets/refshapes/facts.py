"""What expressions of RefShapes mean (`Meaning`), and which objects of a scene they refer to (`Facts.referents`).

A meaning is used only if exactly one object fits it clearly: every comparison has a margin, and an object that nearly
fits makes the meaning ambiguous.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from .scene import Layout

KINDS = ('attribute', 'place', 'relation', 'size')
SPOTS = {
    'attribute': ('',),
    'place': (
        'leftmost',
        'rightmost',
        'topmost',
        'bottommost',
        'left',
        'right',
        'top',
        'bottom',
        'top left',
        'top right',
        'bottom left',
        'bottom right',
        'middle',
    ),
    'relation': ('left of', 'right of', 'above', 'below', 'closest to'),
    'size': ('biggest', 'smallest'),
}

PLACE_MARGIN = 0.1  # between two objects, of the image's width or height, in centroid and in box centre
HALF_MARGIN = 0.05  # from the image's middle line to an object
SIZE_MARGIN = 1.2  # ratio of box side and of mask area
NEAR_MARGIN = 1.3  # ratio of distances
CENTRAL, NEAR_CENTRE = 0.18, 0.3  # distance from the image's centre, in parts of width and height


class Noun(NamedTuple):
    """A description by attributes; None = any value."""

    color: str | None
    shape: str | None


class Meaning(NamedTuple):
    """``spot`` is one of the ``SPOTS`` of the kind; ``anchor`` describes the other object of a relation."""

    kind: str
    noun: Noun
    spot: str = ''
    anchor: Noun | None = None


class Facts:
    """The positions, sizes and relations of the objects of one layout, as bit sets.

    Bit j of ``before['left'][i]`` is set if object i is clearly to the left of object j.
    """

    def __init__(self, layout: Layout) -> None:
        objects = layout.objects
        self.nouns = [Noun(placed.color, placed.shape) for placed in objects]
        self._groups: dict[Noun, int] = {}
        boxes = np.array([placed.bbox for placed in objects], dtype=np.float64)
        pixels = [np.nonzero(placed.mask) for placed in objects]
        centroids = np.array([(cols.mean() + 0.5, rows.mean() + 0.5) for rows, cols in pixels])
        # Positions by centroid and by box centre (2, n, xy); a comparison must hold for both. Those of a triangle
        # differ by a sixth of its height.
        where = np.stack([centroids, boxes[:, :2] + boxes[:, 2:] / 2])
        frame = np.array([layout.width, layout.height], dtype=np.float64)
        gap = where[:, None, :, :] - where[:, :, None, :]
        part = gap / frame
        self.before = {
            'left': _bits((part[..., 0] >= PLACE_MARGIN).all(0)),
            'right': _bits((part[..., 0] <= -PLACE_MARGIN).all(0)),
            'top': _bits((part[..., 1] >= PLACE_MARGIN).all(0)),
            'bottom': _bits((part[..., 1] <= -PLACE_MARGIN).all(0)),
        }
        half = where / frame - 0.5
        halves = {'left': -half[..., 0], 'right': half[..., 0], 'top': -half[..., 1], 'bottom': half[..., 1]}
        self.inside = {spot: _row_bits((depth >= HALF_MARGIN).all(0)) for spot, depth in halves.items()}
        self.maybe_inside = {spot: _row_bits((depth > -HALF_MARGIN).any(0)) for spot, depth in halves.items()}
        off_centre = np.sqrt((half**2).sum(-1))
        self.central = _row_bits((off_centre <= CENTRAL).all(0))
        self.near_centre = _row_bits((off_centre < NEAR_CENTRE).any(0))
        area = np.array([len(rows) for rows, _ in pixels], dtype=np.float64)
        side = np.sqrt(boxes[:, 2] * boxes[:, 3])
        bigger = (side[:, None] >= SIZE_MARGIN * side) & (area[:, None] >= SIZE_MARGIN * area)
        self.before |= {'biggest': _bits(bigger), 'smallest': _bits(bigger.T)}
        self._relate(gap, part)

    def _relate(self, gap: np.ndarray, part: np.ndarray) -> None:
        """Fill ``clear`` and ``likely``.

        Bit i of ``clear['above'][a]`` is set if object i is clearly above object a; that of ``likely`` if it is above
        by any distance, also if it is farther to the side.
        """
        self.clear, self.likely = {}, {}
        # gap[:, a, i] points from anchor a to object i.
        for spot, axis, sign in (('left of', 0, -1), ('right of', 0, 1), ('above', 1, -1), ('below', 1, 1)):
            along, across = sign * gap[..., axis], np.abs(gap[..., 1 - axis])
            clear = (sign * part[..., axis] >= PLACE_MARGIN) & (across <= along)
            self.clear[spot] = _bits(clear.all(0))
            self.likely[spot] = _bits((sign * part[..., axis] > 0).any(0))
        self.distance = np.sqrt((gap**2).sum(-1)).max(0)

    def matching(self, noun: Noun) -> int:
        if noun not in self._groups:
            self._groups[noun] = sum(
                1 << k
                for k, (color, shape) in enumerate(self.nouns)
                if noun.color in (None, color) and noun.shape in (None, shape)
            )
        return self._groups[noun]

    def referents(self, meaning: Meaning) -> int:
        """The objects that ``meaning`` clearly fits, as a bit set.

        The set is empty if another object nearly fits, or if a superlative or place is used for the only object of
        its description.
        """
        group = self.matching(meaning.noun)
        if meaning.kind == 'attribute':
            return group
        if group.bit_count() < 2:
            return 0
        if meaning.kind == 'relation':
            return self._related(group, meaning)
        spot = meaning.spot
        if spot == 'middle':
            return self._in_the_middle(group)
        if spot in ('leftmost', 'rightmost', 'topmost', 'bottommost'):
            return self._first(group, spot[:-4])
        if meaning.kind == 'size':
            return self._first(group, spot)
        return self._in_part(group, spot.split())

    def fits_nothing(self, meaning: Meaning) -> bool:
        """Whether clearly no object fits ``meaning``.

        That is so if no object has the description, if the other object of a relation does not exist, or if all
        objects are clearly elsewhere. False if it is uncertain.
        """
        group = self.matching(meaning.noun)
        if not group:
            return True
        if meaning.kind == 'relation':
            anchors = self.matching(meaning.anchor)
            if not anchors or meaning.spot == 'closest to':
                return not anchors
            return not any(group & self.likely[meaning.spot][k] for k in range(len(self.nouns)) if anchors >> k & 1)
        directions = meaning.spot.split()
        if meaning.kind != 'place' or not all(direction in self.maybe_inside for direction in directions):
            return False
        for direction in directions:
            group &= self.maybe_inside[direction]
        return not group

    def _first(self, group: int, order: str) -> int:
        """The object of ``group`` that is clearly before all others of ``group`` in ``order``, if there is one."""
        for k, later in enumerate(self.before[order]):
            if group >> k & 1 and not group & ~later & ~(1 << k):
                return 1 << k
        return 0

    def _in_part(self, group: int, directions: list[str]) -> int:
        """The objects of ``group`` in a half or quarter of the image; empty unless each is clearly inside or outside."""
        inside = maybe_inside = group
        for direction in directions:
            inside &= self.inside[direction]
            maybe_inside &= self.maybe_inside[direction]
        return inside if inside == maybe_inside else 0

    def _in_the_middle(self, group: int) -> int:
        found = group & self.near_centre
        if found & ~self.central or found.bit_count() != 1 or group.bit_count() < 3:
            return 0
        k = found.bit_length() - 1
        # "The middle one" can also mean the middle object of a row; that must be the same object.
        between = all(group & self.before[order][k] for order in ('left', 'right'))
        return found if between else 0

    def _related(self, group: int, meaning: Meaning) -> int:
        anchors = self.matching(meaning.anchor)
        if anchors.bit_count() != 1:
            return 0
        anchor = anchors.bit_length() - 1
        group &= ~anchors
        if meaning.spot != 'closest to':
            likely = group & self.likely[meaning.spot][anchor]
            return likely if not likely & ~self.clear[meaning.spot][anchor] else 0
        others = [k for k in range(len(self.nouns)) if group >> k & 1]
        ranked = sorted(others, key=lambda k: self.distance[anchor, k])
        if len(ranked) < 2 or self.distance[anchor, ranked[1]] < NEAR_MARGIN * self.distance[anchor, ranked[0]]:
            return 0
        return 1 << ranked[0]

    def meanings(self, target: int, kind: str) -> list[Meaning]:
        """All meanings of ``kind`` that fit the object ``target`` and no other."""
        return [meaning for meaning in self._candidates(target, kind) if self.referents(meaning) == 1 << target]

    def _candidates(self, target: int, kind: str) -> Iterator[Meaning]:
        nouns = _descriptions(self.nouns[target])
        if kind == 'attribute':
            yield from (Meaning(kind, noun) for noun in nouns[:-1])
            return
        # Only a speed-up: `referents` rejects the other nouns, and there are many.
        nouns = [noun for noun in nouns if self.matching(noun).bit_count() > 1]
        if kind == 'relation':
            anchors = dict.fromkeys(
                anchor
                for k, own in enumerate(self.nouns)
                if k != target
                for anchor in _descriptions(own)[:-1]
                if self.matching(anchor) == 1 << k
            )
            yield from (Meaning(kind, *parts) for parts in product(nouns, SPOTS[kind], anchors))
        else:
            yield from (Meaning(kind, *parts) for parts in product(nouns, SPOTS[kind]))


def _bits(table: np.ndarray) -> list[int]:
    """The rows of a bool table as integers, column j being bit j."""
    return (table @ (1 << np.arange(table.shape[1]))).tolist()


def _row_bits(row: np.ndarray) -> int:
    return _bits(row[None])[0]


def _descriptions(noun: Noun) -> list[Noun]:
    return [noun, Noun(None, noun.shape), Noun(noun.color, None), Noun(None, None)]

"""Places, order and sizes of the objects of a picture, each with a margin.

Every method takes the objects that a noun fits, and gives those of them that a word fits as well. A comparison of two
objects must hold for the centres of their boxes and, nearly, for the edges, and for the centroids of their masks if
both have one. Margins are parts of the image's width or height.
"""

import numpy as np
from pycocotools import mask as mask_utils

from mmuniqrnet.structures.masks import to_rle

from .fits import NOTHING, Fit, bits, bits_of, members
from .scene import Picture

GAP = 0.05  # least distance of two centres
GAP_OF_SIDE = 0.3  # and of it in parts of the shorter side
EDGE_BACK = 0.03  # an edge may be this far on the other side, if the centres are clear
LONE = 0.35  # a place word for the only object of its kind: its centre is nearer to the side than this
WIDE_GAP = 0.15  # "left" among several on the left: the next is as far as this
HALF = 0.05  # from the middle line
FAR_OUT = 0.2  # from the middle line, at the far left
MIDDLE, NEAR_MIDDLE = 0.12, 0.2  # distance from the middle line, of the one in the middle and of all others
CORNER = 0.27  # distance of a centre from two sides
SIZE_RATIO = 1.4  # of the square roots of two areas, and LEAST_RATIO of both sides
DEPTH_RATIO = 1.5  # the same for "in front"
LEAST_RATIO = 1.2
TINY = 0.004  # the part of the image below which an object is not called the smallest, or the one behind
COUNTABLE = 3.0  # ratio of heights within which objects count as one row
MOST_COUNTED = 8

SIDES = ('left', 'right', 'top', 'bottom')
MOST = {'leftmost': 'left', 'rightmost': 'right', 'topmost': 'top', 'bottommost': 'bottom'}
FAR = {'far left': 'left', 'far right': 'right'}
CORNERS = ('top left', 'top right', 'bottom left', 'bottom right')
PLACES = (*SIDES, *MOST, *FAR, *CORNERS, *(f'{corner} corner' for corner in CORNERS), 'middle', 'front', 'back')
SIZES = ('biggest', 'smallest')


class Places:
    """What is measured in one picture.

    Attributes:
        box: [n, 4], x1, y1, x2, y2 in parts of the image.
        centre: [n, 2].
        before: For each side, [n, n] bool: object i is clearly farther on that side than object j.
    """

    def __init__(self, picture: Picture) -> None:
        frame = np.array([picture.width, picture.height] * 2, dtype=np.float64)
        self.pixels = np.array([thing.box for thing in picture.things], dtype=np.float64).reshape(-1, 4)
        self.box = self.pixels / frame
        self.centre = (self.box[:, :2] + self.box[:, 2:]) / 2
        self.side = self.box[:, 2:] - self.box[:, :2]
        self.area = self.side.prod(1)
        centroid, self.mask_share = _of_masks(picture)
        self.before: dict[str, np.ndarray] = {}
        for axis, (low, high) in enumerate((('left', 'right'), ('top', 'bottom'))):
            gap = self.centre[None, :, axis] - self.centre[:, None, axis]
            least = np.maximum(GAP, GAP_OF_SIDE * np.minimum(self.side[:, None, axis], self.side[None, :, axis]))
            clear = gap >= least
            for edge in (axis, axis + 2):
                clear &= self.box[None, :, edge] - self.box[:, None, edge] > -EDGE_BACK
            of_mask = centroid[None, :, axis] - centroid[:, None, axis]
            clear &= np.isnan(of_mask) | (of_mask >= GAP / 2)
            self.before[low], self.before[high] = clear, clear.T

    def first(self, group: Fit, side: str) -> Fit:
        """The one that is farthest on a side."""
        for i in members(group.sure):
            if all(self.before[side][i, j] for j in members(group.maybe) if j != i):
                return Fit(1 << i, 1 << i)
        return NOTHING

    def place(self, group: Fit, place: str) -> Fit:
        """The one of the group that has a place; nothing if several may have it, or it is not clear."""
        if place in MOST:
            found = self.first(group, MOST[place]) if group.maybe.bit_count() > 1 else NOTHING
            return found if found.only is not None and self._depth(MOST[place])[found.only] >= -HALF else NOTHING
        if place in FAR:
            found = self.first(group, FAR[place]) if group.maybe.bit_count() > 1 else NOTHING
            return found if found.only is not None and self._depth(FAR[place])[found.only] >= FAR_OUT else NOTHING
        if place in SIDES:
            return self._on_side(group, place)
        if place == 'middle':
            return self._in_the_middle(group)
        if place in ('front', 'back'):
            return self._in_depth(group, place)
        return self._in_corner(group, place)

    def _depth(self, side: str) -> np.ndarray:
        """How far each centre is on that side of the middle line."""
        along = self.centre[:, 0 if side in ('left', 'right') else 1] - 0.5
        return -along if side in ('left', 'top') else along

    def _on_side(self, group: Fit, side: str) -> Fit:
        depth = self._depth(side)
        if group.maybe.bit_count() == 1:
            return group if all(depth[i] >= 0.5 - LONE for i in members(group.sure)) else NOTHING
        found = self.first(group, side)
        if found.only is None or depth[found.only] < HALF:
            return NOTHING
        others = [depth[j] for j in members(group.maybe) if j != found.only]
        far = all(other <= -HALF or depth[found.only] - other >= WIDE_GAP for other in others)
        return found if far else NOTHING

    def _in_corner(self, group: Fit, place: str) -> Fit:
        """In a quarter of the image, or in its corner; all others are clearly out of the quarter."""
        sides = place.removesuffix(' corner').split()
        depth = np.min([self._depth(side) for side in sides], axis=0)
        least = 0.5 - CORNER if place.endswith('corner') else 0.5 - LONE if group.maybe.bit_count() == 1 else 2 * HALF
        return _sharp(group, depth >= least, depth > -HALF)

    def _in_the_middle(self, group: Fit) -> Fit:
        """At the image's middle line, and in the middle of a row that it could be part of, by its height."""
        if group.maybe.bit_count() < 3:
            return NOTHING
        off = np.abs(self.centre[:, 0] - 0.5)
        found = _sharp(group, off <= MIDDLE, off < NEAR_MIDDLE)
        if found.only is None:
            return NOTHING
        i, others = found.only, [j for j in members(group.maybe) if j != found.only]
        if self.side[i, 1] * COUNTABLE < self.side[others, 1].max():
            return NOTHING
        left = sum(bool(self.before['left'][j, i]) for j in others)
        right = sum(bool(self.before['right'][j, i]) for j in others)
        return found if left + right == len(others) and abs(left - right) <= 1 else NOTHING

    def _bigger(self, i: int, j: int, ratio: float) -> bool:
        sides = self.side[i] / np.maximum(self.side[j], 1e-9)
        area = self.area[i] / max(self.area[j], 1e-9)
        masks = self.mask_share[i] / self.mask_share[j]  # NaN if one has no mask
        return bool(sides.min() >= LEAST_RATIO and area >= ratio**2 and not masks < ratio**2)

    def _in_depth(self, group: Fit, place: str) -> Fit:
        """In front is what is clearly bigger, and whose lower edge is lower; behind what is smaller and higher."""
        if group.maybe.bit_count() < 2:
            return NOTHING
        for i in members(group.sure):
            others = [j for j in members(group.maybe) if j != i]
            seen = place == 'front' or self.area[i] >= TINY
            if seen and all(self._nearer(*((i, j) if place == 'front' else (j, i))) for j in others):
                return Fit(1 << i, 1 << i)
        return NOTHING

    def _nearer(self, i: int, j: int) -> bool:
        return self._bigger(i, j, DEPTH_RATIO) and bool(self.box[i, 3] - self.box[j, 3] >= GAP)

    def size(self, group: Fit, word: str) -> Fit:
        """The biggest or smallest of at least two."""
        if group.maybe.bit_count() < 2:
            return NOTHING
        for i in members(group.sure):
            others = [j for j in members(group.maybe) if j != i]
            seen = word == 'biggest' or self.area[i] >= TINY
            if seen and all(self._bigger(*((i, j) if word == 'biggest' else (j, i)), SIZE_RATIO) for j in others):
                return Fit(1 << i, 1 << i)
        return NOTHING

    def half(self, group: Fit, side: str) -> Fit:
        """Those of the group that are on one side of the middle line."""
        depth = self._depth(side)
        return Fit(group.sure & bits(depth >= 2 * HALF), group.maybe & bits(depth > -HALF))

    def row(self, group: Fit, place: str) -> Fit:
        """The front or back row, of two or more.

        Each object in front is clearly nearer than each one behind, and no two of a row differ as much in height.
        """
        objects = sorted(members(group.sure), key=lambda i: -self.side[i, 1])
        height = [self.side[i, 1] for i in objects]
        for cut in range(1, len(objects)) if group.sure == group.maybe else ():
            front, back = objects[:cut], objects[cut:]
            least = height[cut - 1] / max(height[cut], 1e-9)
            alike = height[0] < least * height[cut - 1] and height[cut] < least * height[-1]
            if alike and all(self._nearer(i, j) for i in front for j in back):
                row = front if place == 'front' else back
                return Fit(bits_of(row), bits_of(row)) if len(row) > 1 else NOTHING
        return NOTHING

    def number(self, group: Fit, side: str, count: int) -> Fit:
        """Number ``count`` (from 1) counted from the left or right, of at least three that make one row."""
        total = group.maybe.bit_count()
        if group.sure != group.maybe or not 3 <= total <= MOST_COUNTED or not 1 <= count <= total:
            return NOTHING
        row = list(members(group.sure))
        if self.side[row, 1].max() > COUNTABLE * self.side[row, 1].min():
            return NOTHING
        for i in row:
            earlier = sum(bool(self.before[side][j, i]) for j in row)
            later = sum(bool(self.before[side][i, j]) for j in row)
            if earlier == count - 1 and earlier + later == total - 1:
                return Fit(1 << i, 1 << i)
        return NOTHING


def _sharp(group: Fit, inside: np.ndarray, maybe_inside: np.ndarray) -> Fit:
    """The one of the group that is inside, if all others are clearly outside."""
    found = Fit(group.sure & bits(inside), group.maybe & bits(maybe_inside))
    return found if found.only is not None else NOTHING


def _of_masks(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Centroids [n, 2] and areas [n] of masks in parts of the image; NaN where there is no mask."""
    count, size = len(picture.things), (picture.height, picture.width)
    centroid, share = np.full((count, 2), np.nan), np.full(count, np.nan)
    for i, thing in enumerate(picture.things):
        if thing.mask is None or thing.crowd:
            continue
        pixels = mask_utils.decode(to_rle(thing.mask, *size))
        rows, columns = np.nonzero(pixels)
        if len(rows):
            centroid[i] = (columns.mean() + 0.5) / picture.width, (rows.mean() + 0.5) / picture.height
            share[i] = len(rows) / pixels.size
    return centroid, share

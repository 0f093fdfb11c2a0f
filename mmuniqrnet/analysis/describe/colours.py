"""Colours of objects, said only where they are certain: of the whole, and of a standing person's upper and lower half.

A pixel has a colour strictly, or loosely, or not. An object surely has a colour if most of its pixels have it
strictly; it may have one if a small part of its box has it loosely. Where nothing is certain, every colour may fit.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

from mmuniqrnet.structures.masks import to_rle

from .fits import Fit
from .scene import Picture, Thing


class Range(NamedTuple):
    """Hue in degrees (it may pass 360), saturation and value 0..1."""

    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]


ANY = (0.0, 360.0)
STRICT = {
    'red': Range((346, 370), (0.6, 1), (0.3, 1)),
    'orange': Range((16, 36), (0.78, 1), (0.7, 1)),
    'yellow': Range((44, 64), (0.55, 1), (0.6, 1)),
    'green': Range((85, 160), (0.35, 1), (0.2, 1)),
    'blue': Range((205, 250), (0.4, 1), (0.25, 1)),
    'purple': Range((265, 300), (0.3, 1), (0.25, 1)),
    'pink': Range((315, 345), (0.28, 0.8), (0.6, 1)),
    'white': Range(ANY, (0, 0.17), (0.74, 1)),
    'gray': Range(ANY, (0, 0.12), (0.35, 0.62)),
    'black': Range(ANY, (0, 0.65), (0, 0.25)),
    'brown': Range((12, 34), (0.4, 0.85), (0.15, 0.5)),
}
LOOSE = {
    'red': Range((335, 380), (0.42, 1), (0.15, 1)),
    'orange': Range((8, 46), (0.5, 1), (0.45, 1)),
    'yellow': Range((36, 75), (0.35, 1), (0.4, 1)),
    'green': Range((65, 185), (0.18, 1), (0.12, 1)),
    'blue': Range((180, 268), (0.18, 1), (0.12, 1)),
    'purple': Range((245, 325), (0.15, 1), (0.12, 1)),
    'pink': Range((290, 372), (0.15, 1), (0.45, 1)),
    'white': Range(ANY, (0, 0.25), (0.6, 1)),
    'gray': Range(ANY, (0, 0.25), (0.2, 0.8)),
    'black': Range(ANY, (0, 1), (0, 0.38)),
    'brown': Range((4, 45), (0.25, 1), (0.1, 0.68)),
}
COLOURS = tuple(STRICT)
WHOLE_ONLY = ('brown', 'orange')  # skin and hair may look like these: not said of clothes
NO_HUE = ('white', 'gray', 'black')
PARTS = ('whole', 'upper', 'lower')

SURE = {'whole': 0.6, 'upper': 0.6, 'lower': 0.65}  # of a part's pixels, strictly
LOOSELY = 0.75  # of a part's pixels, loosely, besides
MAYBE, MAYBE_NO_HUE = 0.1, 0.3  # of the pixels of a part, loosely
ELSEWHERE = 0.15  # of the pixels of the box, strictly
LEAST_PIXELS = 40
LEAST_SIDE = 16  # pixels; colours of smaller objects are uncertain
LEAST_SURE = 22  # and of those that have a sure colour
LEAST_HEIGHT = 48  # pixels of a person, to tell halves apart
GREY_PICTURE = 0.12  # a picture in which 95 % of the pixels are less saturated has no colours
DARK_PICTURE = 0.3  # in a picture of which half of the pixels are darker, nothing is surely black

# Rows and columns of a box, in parts of its sides: where a part is, and where it may be.
WHERE = {
    'whole': ((0.15, 0.85), (0.15, 0.85)),
    'upper': ((0.22, 0.45), (0.28, 0.72)),
    'lower': ((0.55, 0.85), (0.25, 0.75)),
}
SEATED = ((0.42, 0.68), (0.28, 0.72))  # the upper part of a person in a box that is not that of one who stands
STANDING = (1.9, 4.5)  # height / width of a person who stands
FEET = 0.985  # of the image's height: the feet of one who stands are above this
SQUAT = (0.9, 1.9)  # and of one who sits, or whose legs are out of the image
MAY_BE = {
    'whole': ((0.0, 1.0), (0.0, 1.0)),
    'upper': ((0.12, 0.7), (0.15, 0.85)),
    'lower': ((0.45, 1.0), (0.1, 0.9)),
}


Where = tuple[tuple[float, float], tuple[float, float]]


class _Maps(NamedTuple):
    """[H, W] uint16, which colours each pixel has: bit c is set if it has colour c of ``COLOURS``."""

    strict: np.ndarray
    loose: np.ndarray


class Colours:
    """The colours of the objects of one picture.

    Attributes:
        sure: For each part, the one colour of each object, or None.
        maybe: For each part, the colours that each object may have there.
    """

    def __init__(self, picture: Picture, pixels: Image.Image, wearers: frozenset[str]) -> None:
        """
        Args:
            picture: Its objects.
            pixels: The picture, of the size that the annotations refer to.
            wearers: The categories of which halves are told, as those of clothes.
        """
        rgb = np.asarray(pixels.convert('RGB'))
        channels = rgb.transpose(2, 0, 1)
        high, low = channels.max(0), channels.min(0)
        count = len(picture.things)
        self.sure: dict[str, list[str | None]] = {part: [None] * count for part in PARTS}
        self.maybe: dict[str, list[frozenset[str]]] = {part: [frozenset(COLOURS)] * count for part in PARTS}
        bright = high > 0.2 * 255
        if not bright.any() or np.percentile(1 - low[bright] / high[bright], 95) < GREY_PICTURE:
            return
        dark = np.median(high) < DARK_PICTURE * 255
        maps = _maps_of(rgb)
        for i, thing in enumerate(picture.things):
            x1, y1, x2, y2 = _whole(thing.box, rgb.shape)
            if min(x2 - x1, y2 - y1) < LEAST_SIDE or thing.crowd:
                continue
            patch, mask = _Maps(maps.strict[y1:y2, x1:x2], maps.loose[y1:y2, x1:x2]), None
            if thing.mask is not None:
                mask = mask_utils.decode(to_rle(thing.mask, picture.height, picture.width))[y1:y2, x1:x2] > 0
            wears = thing.category in wearers
            for part in PARTS:
                self.maybe[part][i] = _maybe(patch, mask, part)
                where = _where(thing, picture, part) if wears != (part == 'whole') else None
                seen = where is not None and min(x2 - x1, y2 - y1) >= LEAST_SURE
                if seen and where is not None and not _covered(i, picture, where):
                    colour = _main_colour(patch, mask, where, part)
                    self.sure[part][i] = None if dark and colour == 'black' else colour

    def fit(self, group: Fit, part: str, colour: str) -> Fit:
        """The objects of a group of which a part has a colour."""
        sure = sum(1 << i for i, own in enumerate(self.sure[part]) if own == colour)
        maybe = sum(1 << i for i, own in enumerate(self.maybe[part]) if colour in own)
        return Fit(group.sure & sure, group.maybe & (maybe | sure))


def _where(thing: Thing, picture: Picture, part: str) -> Where | None:
    """Rows and columns in which a part is surely seen; None if that is not known."""
    if part == 'whole':
        return WHERE[part]
    x1, y1, x2, y2 = thing.box
    shape = (y2 - y1) / max(x2 - x1, 1)
    if y2 - y1 < LEAST_HEIGHT or y1 <= 1:
        return None
    if STANDING[0] <= shape <= STANDING[1] and y2 < FEET * picture.height:
        return WHERE[part]
    return SEATED if part == 'upper' and SQUAT[0] <= shape < STANDING[0] else None


def _whole(box: tuple[float, ...], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (round(side) for side in box)
    return max(x1, 0), max(y1, 0), min(x2, shape[1]), min(y2, shape[0])


def _hsv(rgb: np.ndarray) -> np.ndarray:
    """[..., 3] hue in degrees, saturation and value 0..1, as float32."""
    scaled = rgb.astype(np.float32) / 255
    high, low = scaled.max(-1), scaled.min(-1)
    spread = high - low
    safe = np.where(spread > 0, spread, 1)
    red, green, blue = scaled[..., 0], scaled[..., 1], scaled[..., 2]
    hue = np.where(
        high == red,
        (green - blue) / safe % 6,
        np.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    saturation = np.where(high > 0, spread / np.where(high > 0, high, 1), 0)
    return np.stack([hue * 60, saturation, high], axis=-1)


@lru_cache(maxsize=1)
def _table() -> _Maps:
    """The colours of all RGB values, in steps of 4 (6 bits each)."""
    steps = np.arange(2, 256, 4, dtype=np.uint8)
    hsv = _hsv(np.stack(np.meshgrid(steps, steps, steps, indexing='ij'), axis=-1).reshape(-1, 3))
    values = 1 << np.arange(len(COLOURS), dtype=np.uint16)
    flags = (np.stack([_within(hsv, table[colour]) for colour in COLOURS], -1) for table in (STRICT, LOOSE))
    return _Maps(*(own @ values for own in flags))


def _maps_of(rgb: np.ndarray) -> _Maps:
    """The colours of the pixels [H, W, 3]."""
    red, green, blue = (rgb >> 2).astype(np.int32).transpose(2, 0, 1)
    index = (red << 12) | (green << 6) | blue
    return _Maps(*(colours[index] for colours in _table()))


def _within(hsv: np.ndarray, limits: Range) -> np.ndarray:
    (low, high), (dull, vivid), (dark, light) = limits
    hue = (hsv[..., 0] - low) % 360 <= high - low
    return hue & (hsv[..., 1] >= dull) & (hsv[..., 1] <= vivid) & (hsv[..., 2] >= dark) & (hsv[..., 2] <= light)


def _maybe(patch: _Maps, mask: np.ndarray | None, part: str) -> frozenset[str]:
    """The colours of which a part has more than a few pixels, or the box many."""
    loose, everywhere = _region(patch.loose, mask, MAY_BE[part]), _region(patch.strict, mask, MAY_BE['whole'])
    if len(loose) < LEAST_PIXELS:
        return frozenset(COLOURS)
    found = set()
    for colour, share, elsewhere in zip(COLOURS, _shares(loose), _shares(everywhere)):
        dull = colour in NO_HUE
        if share >= (MAYBE_NO_HUE if dull else MAYBE) or (not dull and elsewhere >= ELSEWHERE):
            found.add(colour)
    return frozenset(found)


def _main_colour(patch: _Maps, mask: np.ndarray | None, where: Where, part: str) -> str | None:
    """The colour that nearly all pixels of a part have; None if there is none."""
    strict, loose = _region(patch.strict, mask, where), _region(patch.loose, mask, where)
    if len(strict) < LEAST_PIXELS:
        return None
    for colour, strictly, loosely in zip(COLOURS, _shares(strict), _shares(loose)):
        if strictly >= SURE[part] and loosely >= LOOSELY and (part == 'whole' or colour not in WHOLE_ONLY):
            return colour
    return None


def _shares(pixels: np.ndarray) -> np.ndarray:
    """The share of the pixels [n] that have each colour."""
    counts = np.bincount(pixels, minlength=1 << len(COLOURS))
    has = np.arange(len(counts))[:, None] >> np.arange(len(COLOURS)) & 1
    return counts @ has / len(pixels)


def _region(flags: np.ndarray, mask: np.ndarray | None, where: Where) -> np.ndarray:
    """The pixels [n] in a part of a box, given by rows and columns; with a mask, only the object's."""
    height, width = flags.shape
    (top, bottom), (left, right) = where
    part = slice(int(height * top), round(height * bottom)), slice(int(width * left), round(width * right))
    return flags[part].reshape(-1) if mask is None else flags[part][mask[part]]


def _covered(i: int, picture: Picture, where: Where) -> bool:
    """Whether the box of another object covers more than a quarter of a part of this one that has no mask."""
    thing = picture.things[i]
    if thing.mask is not None:
        return False
    x1, y1, x2, y2 = thing.box
    (top, bottom), (left, right) = where
    low = np.array([x1 + left * (x2 - x1), y1 + top * (y2 - y1)])
    high = np.array([x1 + right * (x2 - x1), y1 + bottom * (y2 - y1)])
    for j, other in enumerate(picture.things):
        common = np.minimum(high, other.box[2:]) - np.maximum(low, other.box[:2])
        if j != i and np.maximum(common, 0).prod() > 0.25 * (high - low).prod():
            return True
    return False

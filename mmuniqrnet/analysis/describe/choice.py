"""Choosing the expressions of one picture, and why an object has none."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmuniqrnet.datasets.random_words import Draw

from .fits import members
from .meanings import Facts, Meaning, Noun
from .phrases import Phrases

# How often each kind is drawn, where there is one.
WEIGHTS = dict(name=0.5, place=3.0, order=1.5, size=1.0, color=2.5, relation=2.0, combined=1.5)
# A place or order that is said of the only object of its kind is true, but tells nothing apart.
NEEDLESS = 0.15
LEAST_SIDE = 12  # pixels of the longer side of an object, below which it is not described
LEAST_SHARE = 0.0008  # of the image
SAME_BOX = 0.7  # IoU of two boxes of one category that are taken for two annotations of one object
TRIES = 12

DESCRIBED = 'described'
# Why an object has no expression, the first that applies, and what that means.
REASONS = {
    'crowd': 'it is a region with several objects (iscrowd)',
    'too small': f'no side of its box has {LEAST_SIDE} pixels, or it has less than {LEAST_SHARE:.2%} of the image',
    'partly annotated': 'not all objects of its category are annotated on the image',
    'alone': 'it is the only one of its category on the image, and only others are wanted (--several)',
    'beside a crowd': 'a crowd of its category is on the image',
    'same place': 'another box of its category is at its place',
    'ambiguous': 'nothing that can be said tells it apart by a margin',
}


class Written(NamedTuple):
    """An expression and what it means."""

    text: str
    meaning: Meaning


def generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers that depend on the seed and the picture's name only, not on other pictures or the process."""
    digest = hashlib.sha256(f'{seed}:{name}'.encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def describe_object(
    facts: Facts, target: int, kinds: Sequence[str], count: int, rng: np.random.Generator, several: bool = False
) -> tuple[list[Written], str]:
    """Up to ``count`` different expressions for an object, of different kinds where there are several.

    With ``several``, the only object of a category in its picture has none.

    Returns:
        The expressions, and ``DESCRIBED``, or why there is none (one of ``REASONS``).
    """
    reason = _unfit(facts, target, several)
    if reason:
        return [], reason
    phrases, draw = Phrases(facts.language, rng), Draw(rng)
    by_kind: dict[str, list[Meaning]] = {}
    for meaning in facts.meanings(target, tuple(kinds)):
        if phrases.can_say(meaning):
            by_kind.setdefault(meaning.kind, []).append(meaning)
    if not by_kind:
        return [], _why_none(facts, target)
    main = facts.language.terms_of(facts.picture.things[target].category)[0]
    alone = facts.group(Noun(main)).maybe.bit_count() == 1
    weights = {kind: WEIGHTS[kind] * (NEEDLESS if alone and kind in ('place', 'relation') else 1) for kind in by_kind}
    found: dict[str, Written] = {}
    left = dict(weights)
    for _ in range(TRIES * count):
        if len(found) == count:
            break
        left = left or dict(weights)
        kind = draw.weighted(left)
        meaning = draw.pick(by_kind[kind])
        text = phrases.write(meaning)
        if text.lower() not in found:
            found[text.lower()] = Written(text, meaning)
            del left[kind]
    return list(found.values()), DESCRIBED


def _unfit(facts: Facts, target: int, several: bool) -> str:
    """Why an object is not described at all; '' if it may be."""
    thing = facts.picture.things[target]
    if thing.crowd:
        return 'crowd'
    x1, y1, x2, y2 = thing.box
    share = (x2 - x1) * (y2 - y1) / (facts.picture.width * facts.picture.height)
    if max(x2 - x1, y2 - y1) < LEAST_SIDE or share < LEAST_SHARE:
        return 'too small'
    if not facts.picture.knows(thing.category):
        return 'partly annotated'
    alone = sum(other.category == thing.category for other in facts.picture.things) == 1
    return 'alone' if several and alone else ''


def _why_none(facts: Facts, target: int) -> str:
    things = facts.picture.things
    category = things[target].category
    if any(things[i].category == category for i in members(facts.crowds)):
        return 'beside a crowd'
    same = [other for i, other in enumerate(things) if i != target and other.category == category]
    if any(_iou(things[target].box, other.box) >= SAME_BOX for other in same):
        return 'same place'
    return 'ambiguous'


def _iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / max(sum(areas) - common, 1e-9)

"""The wording of RefShapes' expressions: all words and sentence forms, and random expressions for a scene."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..random_words import Draw
from .facts import Facts, Meaning, Noun
from .scene import COLORS, SHAPES, Layout

# Probability of each kind if all are allowed.
KIND_WEIGHTS = dict(attribute=0.3, place=0.3, relation=0.25, size=0.15)

# These tables have all words; `lexicon` collects them. Only left, right, leftmost and rightmost name a horizontal
# direction, so when an image is flipped, no other word has to be swapped.
SHAPE_NAMES = {name: (name,) for name in SHAPES} | {'ring': ('ring', 'donut'), 'cross': ('cross', 'plus')}
COLOR_NAMES = {name: (name,) for name in COLORS} | {'purple': ('purple', 'violet')}
ANYTHING = ('thing', 'object', 'shape', 'one')

# A form that occurs twice is drawn twice as often.
BOTH_FORMS = ('{np}', '{np}', '{np}', '{shape} that is {color}', '{shape}, {color}')
ALONE_FORMS = ('{np}', '{np}', 'only {np}')
ARTICLE = 'the'
FORMS: dict[str, dict[str, tuple[str, ...]]] = {
    'place': {
        'leftmost': ('leftmost {np}', 'far left {np}', '{np} on the far left', '{np} that is leftmost'),
        'rightmost': ('rightmost {np}', 'far right {np}', '{np} on the far right', '{np} that is rightmost'),
        'topmost': ('topmost {np}', 'highest {np}', '{np} that is highest'),
        'bottommost': ('bottommost {np}', 'lowest {np}', '{np} that is lowest'),
        'left': ('left {np}', '{np} on the left', '{np} on the left side'),
        'right': ('right {np}', '{np} on the right', '{np} on the right side'),
        'top': ('top {np}', 'upper {np}', '{np} at the top'),
        'bottom': ('bottom {np}', 'lower {np}', '{np} at the bottom'),
        'top left': ('top left {np}', 'upper left {np}', '{np} at the top left', '{np} in the top left corner'),
        'top right': ('top right {np}', 'upper right {np}', '{np} at the top right', '{np} in the top right corner'),
        'bottom left': (
            'bottom left {np}',
            'lower left {np}',
            '{np} at the bottom left',
            '{np} in the bottom left corner',
        ),
        'bottom right': (
            'bottom right {np}',
            'lower right {np}',
            '{np} at the bottom right',
            '{np} in the bottom right corner',
        ),
        'middle': ('middle {np}', 'center {np}', '{np} in the middle', '{np} in the center'),
    },
    'size': {
        'biggest': ('biggest {np}', 'largest {np}', 'big {np}', 'large {np}', '{np} that is biggest'),
        'smallest': ('smallest {np}', 'small {np}', 'little {np}', '{np} that is smallest'),
    },
    'relation': {
        'left of': ('{np} left of {anchor}', '{np} to the left of {anchor}', '{np} that is left of {anchor}'),
        'right of': ('{np} right of {anchor}', '{np} to the right of {anchor}', '{np} that is right of {anchor}'),
        'above': ('{np} above {anchor}', '{np} over {anchor}', '{np} that is above {anchor}'),
        'below': ('{np} below {anchor}', '{np} under {anchor}', '{np} that is below {anchor}'),
        'closest to': ('{np} closest to {anchor}', '{np} nearest to {anchor}', '{np} that is closest to {anchor}'),
    },
}


class Expression(NamedTuple):
    raw: str
    kind: str

    @property
    def tokens(self) -> list[str]:
        return self.raw.lower().replace(',', ' ').split()


def lexicon() -> list[str]:
    """Every word that can occur in an expression, sorted, in lower case."""
    forms = [*BOTH_FORMS, *ALONE_FORMS, *ANYTHING, ARTICLE]
    for names in (*SHAPE_NAMES.values(), *COLOR_NAMES.values()):
        forms += names
    for spots in FORMS.values():
        for wordings in spots.values():
            forms += wordings
    return sorted({word for form in forms for word in form.replace(',', ' ').split() if '{' not in word})


class Wording:
    """Puts meanings into words, with synonyms, word order, articles and a few capital letters drawn from ``rng``."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.draw = Draw(rng)

    def __call__(self, meaning: Meaning) -> str:
        noun = meaning.noun
        if meaning.kind != 'attribute':
            form = self.draw.pick(FORMS[meaning.kind][meaning.spot])
        elif None in noun:
            form = self.draw.pick(ALONE_FORMS)
        else:
            form = self.draw.pick(BOTH_FORMS)
        text = form.format(
            np=self._noun_phrase(noun),
            shape='' if noun.shape is None else self.draw.pick(SHAPE_NAMES[noun.shape]),
            color='' if noun.color is None else self.draw.pick(COLOR_NAMES[noun.color]),
            anchor=self._anchor(meaning.anchor),
        )
        if meaning.kind == 'place' and noun == (None, None) and self.draw.chance(0.2):
            # People also say just "top left" for whatever is there.
            text = meaning.spot
        elif self.draw.chance(0.4):
            text = f'{ARTICLE} {text}'
        return text.capitalize() if self.draw.chance(0.08) else text

    def _noun_phrase(self, noun: Noun) -> str:
        shape = self.draw.pick(ANYTHING if noun.shape is None else SHAPE_NAMES[noun.shape])
        return shape if noun.color is None else f'{self.draw.pick(COLOR_NAMES[noun.color])} {shape}'

    def _anchor(self, noun: Noun | None) -> str:
        if noun is None:
            return ''
        phrase = self._noun_phrase(noun)
        return phrase if noun.shape is not None and self.draw.chance(0.2) else f'{ARTICLE} {phrase}'


def describe(
    layout: Layout, kinds: Sequence[str], count: int, rng: np.random.Generator
) -> list[list[Expression]] | None:
    """Write ``count`` different expressions for each object of a scene.

    Args:
        layout: the scene.
        kinds: the kinds of expressions to draw from.
        count: expressions for each object.
        rng: source of all random numbers.

    Returns:
        One list for each object; None if no expression of ``kinds`` fits some object alone.
    """
    facts, wording = Facts(layout), Wording(rng)
    described = []
    for target in range(len(layout.objects)):
        meanings: dict[str, list[Meaning]] = {}
        expressions: dict[str, Expression] = {}
        for _ in range(4 * count):
            kind = draw_kind(facts, target, kinds, meanings, rng)
            if kind is None:
                return None
            raw = wording(meanings[kind][int(rng.random() * len(meanings[kind]))])
            expressions.setdefault(raw.lower(), Expression(raw, kind))
            if len(expressions) == count:
                break
        else:
            return None
        described.append(list(expressions.values()))
    return described


def draw_kind(
    facts: Facts, target: int, kinds: Sequence[str], meanings: dict[str, list[Meaning]], rng: np.random.Generator
) -> str | None:
    """Draw a kind, by weight, among those with a meaning that fits ``target`` alone; None if there is none.

    ``meanings`` is a cache: the meanings of each kind that was tried are added to it.
    """
    left = list(kinds)
    while left:
        kind = Draw(rng).weighted({kind: KIND_WEIGHTS[kind] for kind in left})
        if kind not in meanings:
            meanings[kind] = facts.meanings(target, kind)
        if meanings[kind]:
            return kind
        left.remove(kind)
    return None

"""Expressions of RefShapes that fit no object of their scene, to train models to refuse."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .expressions import Expression, Wording, draw_kind
from .facts import SPOTS, Facts, Meaning, Noun
from .scene import COLORS, SHAPES, Layout

KIND = 'none'
# Groups of places and directions that can replace each other without changing how frequent each kind is.
ALIKE = (
    SPOTS['relation'],
    ('left', 'right', 'top', 'bottom'),
    ('top left', 'top right', 'bottom left', 'bottom right'),
)


def describe_nothing(layout: Layout, kinds: Sequence[str], count: int, rng: np.random.Generator) -> list[Expression]:
    """Write ``count`` different expressions that clearly fit no object of a scene.

    They should not be recognizable by their words alone. So each starts as a meaning that fits an object of the scene,
    drawn as in ``describe``, and one part of it is changed so that nothing fits: the colour or shape of the object or
    of the other object of a relation, or a place or direction. If possible, the new colour or shape is one that another
    object of the scene has: a blue circle among blue stars and red circles.

    Args:
        layout: the scene.
        kinds: the kinds of expressions to start from.
        count: how many.
        rng: source of all random numbers.

    Returns:
        Expressions of kind "none"; fewer than ``count`` if the scene does not allow as many.
    """
    facts, wording = Facts(layout), Wording(rng)
    expressions: dict[str, Expression] = {}
    for _ in range(50 * count):
        if len(expressions) == count:
            break
        target = int(rng.integers(len(layout.objects)))
        meanings: dict[str, list[Meaning]] = {}
        kind = draw_kind(facts, target, kinds, meanings, rng)
        if kind is None:
            continue
        changed = _change(meanings[kind][int(rng.random() * len(meanings[kind]))], facts, rng)
        if changed is not None:
            raw = wording(changed)
            expressions.setdefault(raw.lower(), Expression(raw, KIND))
    return list(expressions.values())


def _change(meaning: Meaning, facts: Facts, rng: np.random.Generator) -> Meaning | None:
    """``meaning`` with one part changed so that it fits nothing; None if no single change achieves that."""
    present = {value for noun in facts.nouns for value in noun}
    found: list[list[Meaning]] = []
    for options in _changes(meaning):
        nothing = [(value, other) for value, other in options if facts.fits_nothing(other)]
        nearby = [pair for pair in nothing if pair[0] in present]
        if nothing:
            found.append([other for _, other in nearby or nothing])
    if not found:
        return None
    chosen = found[int(rng.integers(len(found)))]
    return chosen[int(rng.integers(len(chosen)))]


def _changes(meaning: Meaning) -> Iterator[list[tuple[str, Meaning]]]:
    """For each part of ``meaning``, the possible other values, each with the changed meaning."""
    for part in ('noun', 'anchor'):
        noun = getattr(meaning, part) or Noun(None, None)
        for attribute, values in (('color', COLORS), ('shape', SHAPES)):
            said = getattr(noun, attribute)
            if said is not None:
                yield [
                    (value, _with(meaning, part, _with(noun, attribute, value))) for value in values if value != said
                ]
    for alike in ALIKE:
        if meaning.spot in alike:
            yield [(spot, meaning._replace(spot=spot)) for spot in alike if spot != meaning.spot]


def _with(record: Any, name: str, value: object) -> Any:
    """A named tuple with another value in one field."""
    return record._replace(**{name: value})

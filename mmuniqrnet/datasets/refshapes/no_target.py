"""Expressions of RefShapes that fit no object of their scene, for models that are to learn to refuse."""

from collections.abc import Iterator, Sequence

import numpy as np

from .expressions import Expression, Wording, draw_kind
from .facts import SPOTS, Facts, Meaning, Noun
from .scene import COLORS, SHAPES, Layout

KIND = 'none'
# Places and directions that may stand for each other without making one kind of them more frequent.
ALIKE = (
    SPOTS['relation'],
    ('left', 'right', 'top', 'bottom'),
    ('top left', 'top right', 'bottom left', 'bottom right'),
)


def describe_nothing(layout: Layout, kinds: Sequence[str], count: int, rng: np.random.Generator) -> list[Expression]:
    """Words ``count`` different expressions that plainly fit no object of a scene.

    The words alone should not give them away. So each starts as a meaning that fits an object of this very scene,
    drawn as ``describe`` draws it, and one thing in it is changed until nothing fits: the colour or the shape that is
    asked for or of a relation's other object, or a place or direction. Where there is the choice, the new colour or
    shape is one that the scene has elsewhere: a blue circle among blue stars and red circles.

    Args:
        layout: the scene.
        kinds: the kinds of expressions to start from.
        count: how many.
        rng: the only source of chance.

    Returns:
        Expressions of kind "none"; fewer than ``count`` where the scene does not give as many.
    """
    facts, wording = Facts(layout), Wording(rng)
    expressions: dict[str, Expression] = {}
    for _ in range(50 * count):
        if len(expressions) == count:
            break
        target, meanings = int(rng.integers(len(layout.objects))), {}
        kind = draw_kind(facts, target, kinds, meanings, rng)
        if kind is None:
            continue
        changed = _change(meanings[kind][int(rng.random() * len(meanings[kind]))], facts, rng)
        if changed is not None:
            raw = wording(changed)
            expressions.setdefault(raw.lower(), Expression(raw, KIND))
    return list(expressions.values())


def _change(meaning: Meaning, facts: Facts, rng: np.random.Generator) -> Meaning | None:
    """``meaning`` with one thing changed, so that it fits nothing; None where no single change does that."""
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
    """For each thing that ``meaning`` says, what else could stand there, and the meaning with it."""
    for part, noun in (('noun', meaning.noun), ('anchor', meaning.anchor)):
        for attribute, values in (('color', COLORS), ('shape', SHAPES)):
            said = getattr(noun or Noun(None, None), attribute)
            if said is not None:
                yield [
                    (value, meaning._replace(**{part: noun._replace(**{attribute: value})}))
                    for value in values
                    if value != said
                ]
    for alike in ALIKE:
        if meaning.spot in alike:
            yield [(spot, meaning._replace(spot=spot)) for spot in alike if spot != meaning.spot]

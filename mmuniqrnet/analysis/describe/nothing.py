"""Expressions that fit no object of a picture, where the annotations prove it, to train models to refuse."""

from collections.abc import Iterator, Sequence

import numpy as np

from mmuniqrnet.datasets.random_words import Draw

from .choice import Written
from .colours import COLOURS, PARTS, WHOLE_ONLY
from .fits import members
from .meanings import Facts, Meaning, Noun, relations_between
from .phrases import Phrases
from .places import CORNERS

FEW = 3  # where more are annotated, one more may have been overlooked: no higher number is said to be missing
MARGIN = 0.03  # from the middle line to the nearest edge of an object that is on the other side


def describe_nothing(facts: Facts, kinds: Sequence[str], count: int, rng: np.random.Generator) -> list[Written]:
    """Up to ``count`` different expressions that fit nothing.

    They are of the same kinds as those that fit something. Most name things that are there, with a colour, place,
    number or neighbour that is not: a name that is not there is refused easily.
    """
    phrases, draw = Phrases(facts.language, rng), Draw(rng)
    by_kind: dict[str, list[Meaning]] = {}
    for meaning in _absent(facts):
        if meaning.kind in kinds and phrases.can_say(meaning):
            by_kind.setdefault(meaning.kind, []).append(meaning)
    found: dict[str, Written] = {}
    for _ in range(8 * count):
        if not by_kind or len(found) == count:
            break
        meaning = draw.pick(by_kind[draw.pick(sorted(by_kind))])
        text = phrases.write(meaning)
        found.setdefault(text.lower(), Written(text, meaning))
    return list(found.values())


def _absent(facts: Facts) -> Iterator[Meaning]:
    """Meanings that fit nothing."""
    own = (term for category in sorted(facts.picture.categories) for term in facts.language.terms_of(category))
    terms = [term for term in dict.fromkeys([*facts.language.terms, *own]) if facts.complete(term)]
    groups = {term: facts.group(Noun(term)).maybe for term in terms}
    missing = [term for term in terms if not groups[term]]
    present = [term for term in terms if groups[term] and not groups[term] & facts.crowds]
    yield from (Meaning(Noun(term)) for term in missing)
    for term in present:
        noun, group = Noun(term), groups[term]
        yield from _absent_colours(facts, noun)
        yield from (
            Meaning(noun, 'place', f'{corner} corner')
            for corner in CORNERS
            if _all_outside(facts, group, corner.split())
        )
        if group.bit_count() == 1:
            yield from (
                Meaning(noun, 'place', side) for side in ('left', 'right') if _all_outside(facts, group, [side])
            )
        if 2 <= group.bit_count() <= FEW:
            total = group.bit_count()
            counts = [n for n in (total + 1, total + 2) if n <= len(facts.language.ordinals)]
            yield from (Meaning(noun, 'order', side, n) for side in ('left', 'right') for n in counts)
        yield from (
            Meaning(noun, 'relation', relation, 0, Noun(other))
            for other in missing
            for relation in relations_between(facts.language, min(term.covers), min(other.covers))
        )


def _absent_colours(facts: Facts, noun: Noun) -> Iterator[Meaning]:
    """Colours that no object of a noun may have."""
    if facts.colours is None:
        return
    wears = bool(noun.term.covers & facts.language.wearers)
    for part in PARTS:
        if wears == (part == 'whole'):
            continue
        for colour in COLOURS:
            tinted = noun._replace(by=part, value=colour)
            if not (wears and colour in WHOLE_ONLY) and not facts.group(tinted).maybe:
                yield Meaning(tinted)


def _all_outside(facts: Facts, group: int, sides: list[str]) -> bool:
    """Whether every object of a group is, with its whole box, clearly in another part of the image."""
    low, high = facts.places.box[:, :2], facts.places.box[:, 2:]
    beyond = {
        'left': low[:, 0] > 0.5 + MARGIN,
        'right': high[:, 0] < 0.5 - MARGIN,
        'top': low[:, 1] > 0.5 + MARGIN,
        'bottom': high[:, 1] < 0.5 - MARGIN,
    }
    return all(any(beyond[side][i] for side in sides) for i in members(group))

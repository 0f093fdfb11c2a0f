"""What expressions mean, and which objects of a picture they fit."""

from collections.abc import Iterator
from typing import NamedTuple

from .colours import PARTS, Colours
from .fits import NOTHING, Fit
from .language import Language, Term
from .neighbours import RELATIONS, Neighbours
from .places import MOST_COUNTED, PLACES, SIZES, Places
from .scene import Picture

MOST_COUNTED_IN_ROW = 3  # of a front or back row
LEAST_ANCHOR = 0.002  # the part of the image that the box of a neighbour must cover to be named
KINDS = ('name', 'place', 'order', 'size', 'color', 'relation', 'combined')


class Noun(NamedTuple):
    """A term, and what narrows it down: ``by`` is a part, and ``value`` its colour; or ``by`` is 'half', and ``value``
    a side of the image; or ``by`` is 'row', and ``value`` 'front' or 'back'. Both are '' for the term alone."""

    term: Term
    by: str = ''
    value: str = ''

    @property
    def coloured(self) -> bool:
        return self.by in PARTS


class Meaning(NamedTuple):
    """A noun, and what else is said of it.

    ``spot`` is a place, a size, a side to count from (with ``number``) or a relation (with ``anchor``).
    """

    noun: Noun
    said: str = ''
    spot: str = ''
    number: int = 0
    anchor: Noun | None = None

    @property
    def kind(self) -> str:
        if self.said:
            return 'combined' if self.noun.by else self.said
        return 'color' if self.noun.by else 'name'


class Facts:
    """All that is known of one picture.

    Args:
        picture: Its objects.
        language: For its terms.
        colours: None if the picture itself is not at hand.
    """

    def __init__(self, picture: Picture, language: Language, colours: Colours | None) -> None:
        self.picture, self.language, self.colours = picture, language, colours
        self.places = Places(picture)
        self.neighbours = Neighbours(self.places, picture.width)
        self.crowds = sum(1 << i for i, thing in enumerate(picture.things) if thing.crowd)
        self._groups: dict[Noun, Fit] = {}
        self._complete: dict[Term, bool] = {}

    def group(self, noun: Noun) -> Fit:
        """The objects that a noun fits; nothing is sure where other objects of these categories may be present."""
        if noun not in self._groups:
            self._groups[noun] = self._find(noun)
        return self._groups[noun]

    def _find(self, noun: Noun) -> Fit:
        term, things = noun.term, self.picture.things
        sure = sum(1 << i for i, thing in enumerate(things) if thing.category in term.covers)
        maybe = sum(1 << i for i, thing in enumerate(things) if self._may_name(term, thing.category))
        if self.crowds & maybe or not self.complete(term):
            return Fit(0, maybe)
        found = Fit(sure, maybe)
        if noun.by == 'half':
            return self.places.half(found, noun.value)
        if noun.by == 'row':
            return self.places.row(found, noun.value)
        if not noun.coloured:
            return found
        return NOTHING if self.colours is None else self.colours.fit(found, noun.by, noun.value)

    def _may_name(self, term: Term, category: str) -> bool:
        """A word for several categories may also name one that the language does not list."""
        general = len(term.covers) > 1
        return category in term.all_categories or (general and category not in self.language.listed)

    def complete(self, term: Term) -> bool:
        """Whether all objects that the term names are annotated, and those that it may name, if the file has them."""
        if term not in self._complete:
            self._complete[term] = all(map(self.picture.knows, term.covers)) and all(
                self.picture.knows(category) for category in self.picture.categories if self._may_name(term, category)
            )
        return self._complete[term]

    def fit(self, meaning: Meaning) -> Fit:
        """The objects that a meaning fits."""
        group = self.group(meaning.noun)
        if not group.sure:
            return Fit(0, group.maybe)
        if meaning.said == 'place':
            found = self.places.place(group, meaning.spot)
            return found if self._other_reading(meaning) in (None, found.only) else NOTHING
        if meaning.said == 'size':
            return self.places.size(group, meaning.spot)
        if meaning.said == 'order':
            return self.places.number(group, meaning.spot, meaning.number)
        if meaning.said == 'relation':
            assert meaning.anchor is not None
            anchor = self.group(meaning.anchor).only
            return NOTHING if anchor is None else self.neighbours.related(group, meaning.spot, anchor)
        return group

    def _other_reading(self, meaning: Meaning) -> int | None:
        """What "the left person in front" is if it is read as "the front person on the left", and the other way."""
        term, by, value = meaning.noun
        if by == 'half' and meaning.spot in ('front', 'back'):
            return self.places.place(self.group(Noun(term, 'row', meaning.spot)), value).only
        side = meaning.spot.removeprefix('far ').removesuffix('most')
        if by == 'row' and side in ('left', 'right'):
            return self.places.place(self.group(Noun(term, 'half', side)), value).only
        return None

    def meanings(self, target: int, kinds: tuple[str, ...] = KINDS) -> list[Meaning]:
        """All meanings of these kinds that fit the object alone."""
        return [meaning for meaning in self._candidates(target, kinds) if self.fit(meaning) == _just(target)]

    def nouns(self, target: int) -> list[Noun]:
        """The nouns that surely fit an object, without and with colours."""
        terms = self.language.terms_of(self.picture.things[target].category)
        plain = [Noun(term) for term in terms if self.group(Noun(term)).sure]
        if self.colours is None:
            return plain
        tinted = [(part, self.colours.sure[part][target]) for part in PARTS]
        return plain + [noun._replace(by=part, value=hue) for noun in plain for part, hue in tinted if hue]

    def _candidates(self, target: int, kinds: tuple[str, ...]) -> Iterator[Meaning]:
        anchors = None
        if 'combined' in kinds:
            yield from self._narrowed(target)
        for noun in self.nouns(target):
            if noun.coloured and not {'color', 'combined'} & set(kinds):
                continue
            bare = Meaning(noun)
            if bare.kind in kinds:
                yield bare
            wanted = [said for said in ('place', 'size', 'order', 'relation') if bare._replace(said=said).kind in kinds]
            total = self.group(noun).maybe.bit_count()
            if 'place' in wanted:
                yield from (Meaning(noun, 'place', place) for place in PLACES)
            if 'size' in wanted and total > 1:
                yield from (Meaning(noun, 'size', size) for size in SIZES)
            if 'order' in wanted and 3 <= total <= MOST_COUNTED:
                counts = range(1, min(total, len(self.language.ordinals)) + 1)
                yield from (Meaning(noun, 'order', side, n) for side in ('left', 'right') for n in counts)
            if 'relation' in wanted:
                anchors = self._anchors(target) if anchors is None else anchors
                yield from (
                    Meaning(noun, 'relation', relation, 0, anchor)
                    for anchor, relations in anchors
                    for relation in relations
                )

    def _narrowed(self, target: int) -> Iterator[Meaning]:
        """A place or number in a row, and a size or depth in a half of the image."""
        for noun in (noun for noun in self.nouns(target) if not noun.by):
            for by, values in (('half', ('left', 'right')), ('row', ('front', 'back'))):
                for value in values:
                    part = Noun(noun.term, by, value)
                    total = self.group(part).maybe.bit_count()
                    if not self.group(part).sure >> target & 1 or total < 2:
                        continue
                    if by == 'half':
                        yield from (Meaning(part, 'size', size) for size in SIZES)
                        yield from (Meaning(part, 'place', place) for place in ('front', 'back'))
                        continue
                    places = ('left', 'right', 'leftmost', 'rightmost', 'far left', 'far right', 'middle')
                    yield from (Meaning(part, 'place', place) for place in places)
                    numbers = range(1, min(total, MOST_COUNTED_IN_ROW, len(self.language.ordinals)) + 1)
                    yield from (Meaning(part, 'order', side, n) for side in ('left', 'right') for n in numbers)

    def _anchors(self, target: int) -> list[tuple[Noun, tuple[str, ...]]]:
        """Nouns that single out another object which is not tiny, and the relations that may be said of both."""
        return [
            (noun, relations_between(self.language, self.picture.things[target].category, thing.category))
            for i, thing in enumerate(self.picture.things)
            if i != target and self.places.area[i] >= LEAST_ANCHOR
            for noun in self.nouns(i)
            if self.group(noun).only == i
        ]


def relations_between(language: Language, category: str, anchor: str) -> tuple[str, ...]:
    """People carry only what can be carried, and are neither above nor below other things: they stand behind them."""
    person = category in language.wearers
    people = person or anchor in language.wearers
    left_out = {'above', 'below'} if people else set()
    return tuple(
        relation
        for relation in RELATIONS
        if relation not in left_out and (relation != 'with' or (person and anchor in language.carried))
    )


def _just(target: int) -> Fit:
    return Fit(1 << target, 1 << target)

"""Meanings as texts, with synonyms, forms and articles drawn at random."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from mmuniqrnet.datasets.random_words import Draw

from .language import Language, Term
from .meanings import Meaning, Noun


class Phrases:
    """Texts in one language.

    Args:
        language: Words and forms.
        rng: Draws among them.
    """

    def __init__(self, language: Language, rng: np.random.Generator) -> None:
        self.language, self.draw = language, Draw(rng)

    def can_say(self, meaning: Meaning) -> bool:
        """Whether the language has a form and a colour word for everything in a meaning."""
        forms, colours = self.language.forms, self.language.colours
        nouns = [noun for noun in (meaning.noun, meaning.anchor) if noun is not None and noun.by]
        known = all(
            noun.by in forms.get('color', {}) and noun.value in colours
            if noun.coloured
            else noun.value in forms.get(noun.by, {})
            for noun in nouns
        )
        return known and (not meaning.said or meaning.spot in forms.get(meaning.said, {}))

    def write(self, meaning: Meaning) -> str:
        """One text."""
        pick = self.draw.pick
        phrase = self._noun_phrase(meaning.noun)
        if meaning.said:
            form = pick(self.language.forms[meaning.said][meaning.spot])
            anchor = self._with_article(self._noun_phrase(meaning.anchor), 0.8) if meaning.anchor else ''
            number = pick(self.language.ordinals[meaning.number - 1]) if meaning.number else ''
            phrase = form.format(np=phrase, anchor=anchor, n=number)
        return self._with_article(phrase, 0.35)

    def plural(self, term: Term) -> str:
        """One text for all objects of a term."""
        return self.draw.pick(self.language.plural_forms).format(np=self.draw.pick(term.plural))

    def _noun_phrase(self, noun: Noun) -> str:
        word = self.draw.pick(noun.term.singular)
        if not noun.by:
            return word
        form = self.draw.pick(self.language.noun_forms(noun.by, noun.value))
        colour = self.draw.pick(self.language.colours[noun.value]) if noun.coloured else ''
        return form.format(np=word, color=colour)

    def _with_article(self, phrase: str, probability: float) -> str:
        article = self.language.article
        wanted = self.draw.chance(probability)
        if not article or not wanted or phrase.startswith(f'{article} '):
            return phrase
        return f'{article} {phrase}'


def all_texts(language: Language, meaning: Meaning) -> Iterator[str]:
    """Every text for a meaning, without the article at its beginning; for checks."""

    def noun_phrases(noun: Noun) -> list[str]:
        if not noun.by:
            return list(noun.term.singular)
        colours = language.colours[noun.value] if noun.coloured else ('',)
        parts = product(language.noun_forms(noun.by, noun.value), noun.term.singular, colours)
        return [form.format(np=word, color=colour) for form, word, colour in parts]

    if not meaning.said:
        yield from noun_phrases(meaning.noun)
        return
    anchors = [''] if meaning.anchor is None else noun_phrases(meaning.anchor)
    numbers = language.ordinals[meaning.number - 1] if meaning.number else ('',)
    forms = language.forms[meaning.said][meaning.spot]
    for form, phrase, anchor, number in product(forms, noun_phrases(meaning.noun), anchors, numbers):
        yield form.format(np=phrase, anchor=anchor, n=number)

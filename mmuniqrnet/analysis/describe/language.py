"""The words and forms of a language, read from a data file, and phrases made of them.

A file has ``article`` (may be empty), ``aliases`` (other names that data sets have for a category), ``wearers``
(categories that wear clothes), ``carried`` (categories of things that people carry), ``colors``, ``ordinals``,
``forms``, ``plural_forms`` and ``terms``. A term is ``{"singular": [...], "plural": [...], "covers": [categories],
"may_cover": [categories]}``: words, the categories that they surely name, and others that a reader might also
understand. A word or form that is listed twice is drawn twice as often. ``languages/english.json`` is an example.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.utils.errors import UserError

from .colours import COLOURS
from .neighbours import RELATIONS
from .places import PLACES, SIZES
from .scene import plain_name

LANGUAGES = Path(__file__).parent / 'languages'

# What a file's forms are for, and the placeholders that each must have and may have.
SPOTS = {
    'color': ('whole', 'upper', 'lower'),
    'half': ('left', 'right'),
    'row': ('front', 'back'),
    'place': PLACES,
    'size': SIZES,
    'order': ('left', 'right'),
    'relation': RELATIONS,
}
NEEDED = {
    'color': {'color'},
    'half': {'np'},
    'row': {'np'},
    'place': {'np'},
    'size': {'np'},
    'order': {'np', 'n'},
    'relation': {'np', 'anchor'},
}
OPTIONAL = {'color': {'np'}}


@dataclass(frozen=True)
class Term:
    """Words for the objects of some categories."""

    singular: tuple[str, ...]
    plural: tuple[str, ...] = ()
    covers: frozenset[str] = frozenset()
    may_cover: frozenset[str] = frozenset()

    @property
    def all_categories(self) -> frozenset[str]:
        return self.covers | self.may_cover


@dataclass(frozen=True)
class Language:
    """See the module; ``ordinals`` are the words for first, second and so on."""

    article: str
    terms: tuple[Term, ...]
    colours: Mapping[str, tuple[str, ...]]
    ordinals: tuple[tuple[str, ...], ...]
    forms: Mapping[str, Mapping[str, tuple[str, ...]]]
    plural_forms: tuple[str, ...]
    wearers: frozenset[str] = frozenset()
    carried: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    listed: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'listed', frozenset().union(*(term.all_categories for term in self.terms)))

    def noun_forms(self, by: str, value: str) -> tuple[str, ...]:
        """The forms of a noun with a colour of a part, or of a half or row."""
        return self.forms[by][value] if by in ('half', 'row') else self.forms['color'][by]

    def terms_of(self, category: str) -> list[Term]:
        """The terms that surely name a category; its own name where the file does not list it."""
        found = [term for term in self.terms if category in term.covers]
        return found or [Term((category,), (), frozenset([category]))]


def load_language(name: str = 'english') -> Language:
    """A language by the name of a file of the package, or by the path of a file of one's own.

    Raises:
        UserError: There is no such file, or it has other content; the message names the key.
    """
    path = name if name.endswith('.json') else str(LANGUAGES / f'{name}.json')
    if not name.endswith('.json') and not Path(path).is_file():
        names = ', '.join(sorted(file.stem for file in LANGUAGES.glob('*.json')))
        raise UserError(f'there is no language "{name}": there is {names}, or give the path of a .json file.')
    require_file(path, 'the language', "words and forms, as the package's languages/english.json does")
    return parse_language(load_json(path), path)


def parse_language(content: Any, where: str) -> Language:
    """The content of a language file, checked.

    Raises:
        UserError: It is malformed; the message names the key.
    """
    keys = {'article', 'terms', 'colors', 'ordinals', 'forms', 'plural_forms', 'wearers', 'carried', 'aliases'}
    if not isinstance(content, dict) or not keys >= set(content) >= keys - {'wearers', 'carried', 'aliases'}:
        raise UserError(f'{where} should be a JSON object with {", ".join(sorted(keys))}.')
    if not isinstance(content['article'], str):
        raise UserError(f'{where}: "article" should be a string, which may be empty.')
    for key in ('terms', 'ordinals'):
        if not isinstance(content[key], list):
            raise UserError(f'{where}: "{key}" should be a list.')
    colours = _table(content['colors'], COLOURS, where, 'colors')
    if not isinstance(content['forms'], dict) or set(content['forms']) - set(SPOTS):
        raise UserError(f'{where}: "forms" should be an object with some of {", ".join(SPOTS)}.')
    forms = {kind: _table(table, SPOTS[kind], where, f'forms.{kind}') for kind, table in content['forms'].items()}
    for kind, table in forms.items():
        for form in (form for row in table.values() for form in row):
            _check_form(form, NEEDED[kind], OPTIONAL.get(kind, set()), where)
    plural = _words(content['plural_forms'], where, 'plural_forms')
    for form in plural:
        _check_form(form, {'np'}, set(), where)
    return Language(
        article=content['article'],
        terms=tuple(_term(term, where) for term in content['terms']),
        colours=colours,
        ordinals=tuple(_words(row, where, 'ordinals') for row in content['ordinals']),
        forms=forms,
        plural_forms=plural,
        wearers=_categories(content.get('wearers', []), where, 'wearers'),
        carried=_categories(content.get('carried', []), where, 'carried'),
        aliases=_aliases(content.get('aliases', {}), where),
    )


def _term(content: Any, where: str) -> Term:
    keys = {'singular', 'plural', 'covers', 'may_cover'}
    if not isinstance(content, dict) or not keys >= set(content) >= {'singular', 'covers'}:
        raise UserError(f'{where}: a term should have "singular" and "covers", "plural" and "may_cover": {content}.')
    covers, may_cover = (_categories(content.get(key, []), where, key) for key in ('covers', 'may_cover'))
    plural = _words(content['plural'], where, 'plural') if content.get('plural') else ()
    return Term(_words(content['singular'], where, 'singular'), plural, covers, may_cover)


def _aliases(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
        raise UserError(f'{where}: "aliases" should be an object, from other names of categories to names.')
    return {plain_name(other): plain_name(name) for other, name in value.items()}


def _words(value: Any, where: str, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(word, str) and word.strip() for word in value):
        raise UserError(f'{where}: "{key}" should be a list of strings, not {str(value)[:60]}.')
    return tuple(value)


def _categories(value: Any, where: str, key: str) -> frozenset[str]:
    return frozenset(map(plain_name, _words(value, where, key))) if value else frozenset()


def _table(value: Any, known: Sequence[str], where: str, key: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict) or set(value) - set(known):
        raise UserError(f'{where}: "{key}" should be an object with some of {", ".join(known)}.')
    return {name: _words(words, where, f'{key}.{name}') for name, words in value.items()}


def _check_form(form: str, needed: set[str], optional: set[str], where: str) -> None:
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(form) if name is not None}
    except ValueError:
        names = set()
    if not needed <= names <= needed | optional:
        wanted = ' and '.join(f'{{{name}}}' for name in sorted(needed))
        raise UserError(f'{where}: the form "{form}" should have {wanted}, and no other braces.')

"""Lines of JSON for ``ReferJsonlDataset`` from a file in COCO's format, and a count of what could be described."""

import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from mmuniqrnet.datasets.objects import Repairs
from mmuniqrnet.structures.masks import with_text_counts
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import atomic_path, refuse_overwriting
from mmuniqrnet.utils.tables import text_table

from .choice import DESCRIBED, REASONS, WEIGHTS, Written, describe_object, generator
from .colours import Colours
from .language import Language
from .meanings import KINDS, Facts
from .nothing import describe_nothing
from .plurals import name_all, union
from .scene import Picture, Thing, read_pictures

PLURAL = 'plural'
ALL_KINDS = (*KINDS, PLURAL)


@dataclass
class Counts:
    """What was written, and why not more.

    Attributes:
        objects: By category: how many were described, or why not.
        expressions: By kind.
    """

    objects: dict[str, Counter] = field(default_factory=dict)
    expressions: Counter = field(default_factory=Counter)

    def count(self, thing: Thing, outcome: str) -> None:
        self.objects.setdefault(thing.category, Counter())[outcome] += 1

    def tables(self, most: int = 12) -> str:
        """A table of objects by category (the most frequent ones, then the rest), and one of expressions by kind."""
        ranked = sorted(self.objects, key=lambda name: (-self.objects[name].total(), name))
        shown = ranked if len(ranked) <= most + 1 else ranked[:most]
        rest = ranked[len(shown) :]
        rows = [self._row(name, self.objects[name]) for name in shown]
        if rest:
            rows.append(self._row(f'{len(rest)} others', sum((self.objects[name] for name in rest), Counter())))
        total = sum(self.objects.values(), Counter())
        rows.append(self._row('all', total))
        columns = ['category', 'objects', DESCRIBED, *(reason for reason in REASONS if total[reason])]
        kinds = [{'kind': kind, 'expressions': count} for kind, count in self.expressions.items()]
        kinds.append({'kind': 'all', 'expressions': self.expressions.total()})
        meanings = [f'{reason}: {meaning}' for reason, meaning in REASONS.items() if total[reason]]
        objects = [text_table(rows, columns), *meanings] if self.objects else []
        return '\n'.join([*objects, text_table(kinds, ['kind', 'expressions'])])

    @staticmethod
    def _row(name: str, counter: Counter) -> dict[str, Any]:
        return {'category': name, 'objects': counter.total(), **{key: counter[key] for key in (DESCRIBED, *REASONS)}}


def describe(
    coco: Mapping,
    language: Language,
    images: str | None = None,
    *,
    kinds: Sequence[str] = KINDS,
    per_object: int = 3,
    no_target: float = 0.0,
    seed: int = 0,
    annotated: Collection[str] = (),
    fill_boxes: bool = False,
    several: bool = False,
    split: str | None = None,
    where: str = 'the annotations',
    repairs: Repairs | None = None,
) -> tuple[list[dict], Counts]:
    """Expressions that single out one object each, for all objects of a file for which there are any.

    Args:
        coco: The content of a file in COCO's format.
        language: Words and forms.
        images: Folder of the pictures; None = no colours.
        kinds: Which kinds of expressions (``ALL_KINDS``); ``plural`` means all objects of a name together.
        per_object: Most expressions of an object, and of a plural.
        no_target: The share of expressions that fit nothing, below 1.
        seed: Another seed draws other expressions; the result depends on nothing else.
        annotated: See :func:`read_pictures`.
        fill_boxes: For plurals: boxes take the place of masks that are missing.
        several: Describe only objects that share their image with another one of their category.
        split: Value of ``split`` in the lines; None = no such key.
        where: The file's name, for messages.
        repairs: Counts what is changed in boxes and masks.

    Returns:
        The lines in the order of the images, and what was counted.

    Raises:
        UserError: A picture is missing or has another size, or an argument or the annotations are malformed.
    """
    if not 0 <= no_target < 1:
        raise UserError(f'no_target should be a share from 0 to below 1, not {no_target}.')
    if per_object < 1:
        raise UserError(f'per_object should be 1 or more, not {per_object}.')
    if not kinds or set(kinds) - set(ALL_KINDS):
        raise UserError(f'kinds should be some of {", ".join(ALL_KINDS)}, not {", ".join(kinds) or "none"}.')
    counts = Counts()
    records: list[dict] = []
    for picture in read_pictures(coco, where, annotated, repairs, language.aliases):
        colours = None if images is None else _colours(picture, images, language)
        writer = _Writer(Facts(picture, language, colours), generator(seed, picture.file_name), split, counts)
        records += writer.lines([kind for kind in WEIGHTS if kind in kinds], per_object, no_target, several)
        if PLURAL in kinds:
            records += writer.plurals(per_object, fill_boxes)
    return records, counts


class _Writer:
    """The lines of one picture."""

    def __init__(self, facts: Facts, rng: np.random.Generator, split: str | None, counts: Counts) -> None:
        self.facts, self.rng, self.counts = facts, rng, counts
        self.end: dict[str, Any] = dict(width=facts.picture.width, height=facts.picture.height)
        if split is not None:
            self.end['split'] = split

    def lines(self, kinds: Sequence[str], per_object: int, no_target: float, several: bool) -> Iterator[dict]:
        if not kinds:
            return
        written = 0
        for target, thing in enumerate(self.facts.picture.things):
            found, outcome = describe_object(self.facts, target, kinds, per_object, self.rng, several)
            self.counts.count(thing, outcome)
            if found:
                written += len(found)
                yield self._line(found, _instance(thing))
        wanted = written * no_target / (1 - no_target)
        count = int(wanted + self.rng.random())
        nothing = describe_nothing(self.facts, kinds, count, self.rng) if count else []
        if nothing:
            yield self._line(nothing, dict(no_target=True), 'no target')

    def plurals(self, per_object: int, fill_boxes: bool) -> Iterator[dict]:
        for group, found in name_all(self.facts, per_object, self.rng):
            yield self._line(found, dict(union(self.facts.picture, group, fill_boxes)), PLURAL)

    def _line(self, found: Sequence[Written], instance: dict, kind: str = '') -> dict:
        self.counts.expressions.update(kind or one.meaning.kind for one in found)
        texts = [one.text for one in found]
        return dict(image=self.facts.picture.file_name, expressions=texts, **instance, **self.end)


def _instance(thing: Thing) -> dict[str, Any]:
    instance: dict[str, Any] = dict(bbox=list(thing.box))
    if thing.mask is not None:
        instance['mask'] = with_text_counts(thing.mask) if isinstance(thing.mask, dict) else thing.mask
    return instance


def _colours(picture: Picture, folder: str, language: Language) -> Colours:
    path = os.path.join(folder, picture.file_name)
    try:
        with Image.open(path) as opened:
            pixels = opened.convert('RGB')
    except FileNotFoundError:
        raise UserError(f'the image {path} does not exist; without the images, no colours are said.') from None
    except OSError as error:
        raise UserError(f'the image {path} cannot be read: {error}.') from None
    if pixels.size != (picture.width, picture.height):
        raise UserError(
            f'the image {path} has {pixels.width}x{pixels.height} pixels, but the annotations say '
            f'{picture.width}x{picture.height}.'
        )
    return Colours(picture, pixels, language.wearers)


def write_jsonl(path: str, records: Sequence[Mapping], overwrite: bool = False) -> None:
    """Write one record per line.

    Raises:
        OverwriteError: The file exists and ``overwrite`` is False.
    """
    with atomic_path(refuse_overwriting(path, overwrite)) as part, part.open('w', encoding='utf-8') as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + '\n')

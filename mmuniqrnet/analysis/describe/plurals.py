"""Names for all objects of a kind: "people", "the dogs", or "the dog" where there is one; the target is the union."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmuniqrnet.datasets.random_words import Draw
from mmuniqrnet.structures.masks import Mask, encode_mask, mask_area, to_rle, union_of_rles, with_text_counts

from .choice import Written
from .fits import members
from .meanings import Facts, Meaning, Noun
from .phrases import Phrases
from .scene import Picture, Thing


def name_all(facts: Facts, count: int, rng: np.random.Generator) -> list[tuple[int, list[Written]]]:
    """For each term with objects in a picture: the objects, as a bit set, and up to ``count`` texts.

    A crowd is one of them: its region belongs to the union. A term is left out if it may name other objects, too.
    """
    phrases, draw, said = Phrases(facts.language, rng), Draw(rng), []
    categories = dict.fromkeys(thing.category for thing in facts.picture.things)
    terms = dict.fromkeys(term for category in categories for term in facts.language.terms_of(category))
    for term in terms:
        things = facts.picture.things
        group = sum(1 << i for i, thing in enumerate(things) if thing.category in term.covers)
        if not facts.complete(term) or facts.group(Noun(term)).maybe != group:
            continue
        several = group.bit_count() > 1 or bool(group & facts.crowds)
        if several and not term.plural:
            continue
        texts: dict[str, Written] = {}
        meaning = Meaning(Noun(term))
        for _ in range(4 * count):
            if len(texts) == count:
                break
            text = phrases.plural(term) if several else phrases.write(meaning)
            if several and draw.chance(0.15):
                text = draw.pick(term.singular)  # as a label: all that has this name
            texts.setdefault(text.lower(), Written(text, meaning))
        said.append((group, list(texts.values())))
    return said


def union(picture: Picture, group: int, fill_boxes: bool) -> Mapping[str, Any]:
    """``bbox`` around the objects, and ``mask``, their union, if each has one.

    Args:
        picture: Its objects.
        group: Which of them.
        fill_boxes: Use the box of an object that has no mask, as a coarse mask.
    """
    things = [picture.things[i] for i in members(group)]
    boxes = np.array([thing.box for thing in things])
    found: dict[str, Any] = dict(bbox=[*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist()])
    masks = [_mask_of(thing, picture, fill_boxes) for thing in things]
    given = [mask for mask in masks if mask is not None]
    if len(given) == len(masks):
        size = (picture.height, picture.width)
        rle = union_of_rles([to_rle(mask, *size) for mask in given], *size)
        if mask_area(rle):  # polygons between the centres of pixels cover none
            found['mask'] = with_text_counts(rle)
    return found


def _mask_of(thing: Thing, picture: Picture, fill_boxes: bool) -> Mask | None:
    if thing.mask is not None or not fill_boxes:
        return thing.mask
    x1, y1, x2, y2 = thing.box
    # All pixels that the box touches: of a box of less than a pixel, nothing else would be left.
    pixels = np.zeros((picture.height, picture.width), dtype=bool)
    pixels[math.floor(y1) : math.ceil(y2), math.floor(x1) : math.ceil(x2)] = True
    return encode_mask(pixels)

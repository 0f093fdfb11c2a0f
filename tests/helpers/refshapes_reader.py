"""A reader of RefShapes' files that shares nothing with the code that wrote them: it goes by words and masks."""

import hashlib
import re
from pathlib import Path

import numpy as np
from pycocotools import mask as mask_utils

SYNONYMS = {'donut': 'ring', 'plus': 'cross', 'violet': 'purple'}
SHAPES = {'circle', 'square', 'triangle', 'star', 'ring', 'cross', 'diamond', 'heart'}
COLORS = {'red', 'yellow', 'green', 'blue', 'purple', 'white', 'black'}
RELATIONS = {
    'left of': (-1, 0),
    'to the left of': (-1, 0),
    'right of': (1, 0),
    'to the right of': (1, 0),
    'above': (0, -1),
    'over': (0, -1),
    'below': (0, 1),
    'under': (0, 1),
    'closest to': None,
    'nearest to': None,
}
RELATION = re.compile(r'^(.*?) (?:that is )?(' + '|'.join(sorted(RELATIONS, key=len, reverse=True)) + r') (.*)$')
EXTREMES = {
    'leftmost': (-1, 0),
    'far left': (-1, 0),
    'rightmost': (1, 0),
    'far right': (1, 0),
    'topmost': (0, -1),
    'highest': (0, -1),
    'bottommost': (0, 1),
    'lowest': (0, 1),
}
DIRECTIONS = {'left': (-1, 0), 'right': (1, 0), 'top': (0, -1), 'upper': (0, -1), 'bottom': (0, 1), 'lower': (0, 1)}
BIG, SMALL = {'biggest', 'largest', 'big', 'large'}, {'smallest', 'small', 'little'}


class Thing:
    """An object as the files show it; ``spot`` is its mask's centroid, from the centre, in parts of width, height."""

    def __init__(self, annotation: dict, mirror: bool = False) -> None:
        self.ann_id = annotation['id']
        self.mask = mask_utils.decode(annotation['segmentation'])[:, :: -1 if mirror else 1]
        self.words = set(annotation['attributes'].values())
        rows, cols = np.nonzero(self.mask)
        self.frame = np.array(self.mask.shape[::-1])
        self.spot = np.array([cols.mean() + 0.5, rows.mean() + 0.5]) / self.frame - 0.5
        self.area = int(self.mask.sum())


def named(words: str, things: list[Thing]) -> list[Thing]:
    wanted = {SYNONYMS.get(word, word) for word in words.split()} & (SHAPES | COLORS)
    return [thing for thing in things if wanted <= thing.words]


def understand(text: str, things: list[Thing]) -> set[int]:
    """A reader of its own: ann_ids of the things that ``text`` fits, in the strict sense of its words."""
    text = text.lower().replace(',', ' ')
    relation = RELATION.match(text)
    if relation:
        (anchor,) = named(relation[3], things)
        group = [thing for thing in named(relation[1], things) if thing is not anchor]
        axis = RELATIONS[relation[2]]
        offsets = {thing.ann_id: thing.spot - anchor.spot for thing in group}
        if axis is not None:
            return {key for key, offset in offsets.items() if offset @ axis > 0}
        lengths = {thing.ann_id: np.linalg.norm(offsets[thing.ann_id] * thing.frame) for thing in group}
        return {key for key, length in lengths.items() if length == min(lengths.values())}
    group = named(text, things)
    words = set(text.split())
    for phrase, axis in EXTREMES.items():
        if re.search(rf'\b{phrase}\b', text):
            farthest = max(thing.spot @ axis for thing in group)
            return {thing.ann_id for thing in group if thing.spot @ axis == farthest}
    if words & (BIG | SMALL):
        area = (max if words & BIG else min)(thing.area for thing in group)
        return {thing.ann_id for thing in group if thing.area == area}
    if words & {'middle', 'center'}:
        nearest = min(np.linalg.norm(thing.spot) for thing in group)
        return {thing.ann_id for thing in group if np.linalg.norm(thing.spot) == nearest}
    axes = [DIRECTIONS[word] for word in text.split() if word in DIRECTIONS]
    return {thing.ann_id for thing in group if all(thing.spot @ axis > 0 for axis in axes)}


def digests(folder: Path) -> dict[str, str]:
    """Of every file under a folder, by its path there."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }

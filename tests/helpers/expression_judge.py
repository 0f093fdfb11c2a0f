"""A reader of made expressions: which object of a scene a text means, from the meaning of its words alone.

It knows nothing of how the texts are made. Each claim of a text gives every object a score; an object is meant if every
other object of its kind is clearly worse in one of the claims. An order is a claim that only one object fulfils.
"""

import re

KINDS = {
    'person': ('person', 'human', 'figure'),
    'dog': ('dog', 'doggy'),
    'car': ('car', 'automobile'),
    'bear': ('bear',),
}
NUMBERS = {
    word: count
    for count, words in enumerate(('first 1st', 'second 2nd', 'third 3rd', 'fourth 4th', 'fifth 5th', 'sixth 6th'), 1)
    for word in words.split()
}
RELATIONS = {
    r'left of|to the left of|on the left of': 'left of',
    r'right of|to the right of|on the right of': 'right of',
    r'above|higher than': 'above',
    r'below|lower than': 'below',
    r'next to|beside|by': 'next to',
    r'closest to|nearest': 'closest to',
}
FRONT = ('front', 'closest', 'foreground', r'nearest(?! the)')
BACK = ('back', 'background', 'farthest away', 'farthest from')
ORDINAL = r'\b(' + '|'.join(NUMBERS) + r')\b'
MARGIN = 0.03
UNTRUE = -2


def kind_of(words):
    (kind,) = {kind for kind, names in KINDS.items() if any(re.search(rf'\b{name}\b', words) for name in names)}
    return kind


def split_relation(text):
    """Head, relation and anchor; the last two are None where there is no neighbour."""
    heads = '|'.join(name for names in KINDS.values() for name in names)
    for pattern, relation in RELATIONS.items():
        match = re.search(rf'\b({pattern}) (?:the )?({heads})$', text)
        if match and re.search(heads, text[: match.start()]):
            return text[: match.start()], relation, match.group(2)
    return text, None, None


def meant(text, things, size):
    """The index of the object that the text means, or None.

    Args:
        text: The expression.
        things: ``(category, (x1, y1, x2, y2))`` of each object.
        size: (width, height) of the image.
    """
    head, relation, anchor = split_relation(text.lower())
    group = [i for i, (kind, _) in enumerate(things) if kind == kind_of(head)]
    boxes = [tuple(side / size[axis % 2] for axis, side in enumerate(box)) for _, box in things]
    if relation:
        (other,) = [i for i, (kind, _) in enumerate(things) if kind == kind_of(anchor)] or [None]
        return best([i for i in group if i != other], [relation_claim(relation, other, boxes, size)])
    sides, depth, bulk = words_of(head)
    if re.search(ORDINAL, head):
        return counted(head, row_of(head, group, boxes) if depth else group, boxes)
    horizontal = [side for side in sides if side in ('left', 'right')]
    if horizontal and (depth or bulk):
        # Of those on this side the biggest; or, of those in front, the one farthest on this side.
        half = [i for i in group if position(boxes[i], horizontal[0]) > 0.5]
        found = {best(half, [size_claim(boxes, depth or bulk)])}
        if depth:
            found = found if found == {best(half, [lambda i: depth * boxes[i][3]])} else set()
            found.add(best(row_of(head, group, boxes), [side_claim(boxes, horizontal[0], False)]))
        return next(iter(found - {None})) if len(found - {None}) == 1 else None
    # Of one alone, and in a corner, the place in the image is meant.
    absolute = len(group) == 1 or len(sides) > 1
    if absolute:
        return best([i for i in group if all(position(boxes[i], side) > 0.5 for side in sides)], [])
    claims = [side_claim(boxes, side, absolute) for side in sides]
    if re.search(r'\b(middle|center)\b', head):
        claims.append(lambda i: -abs(position(boxes[i], 'right') - 0.5))
    if depth or bulk:
        claims.append(size_claim(boxes, depth or bulk))
    return best(group, claims)


def best(group, claims):
    """The one of a group that is clearly better than every other in one of the claims; None if there is not one."""
    group = [i for i in group if all(claim(i) > UNTRUE for claim in claims)]
    winners = [i for i in group if all(any(claim(i) > claim(j) + MARGIN for claim in claims) for j in group if j != i)]
    return winners[0] if len(winners) == 1 else None


def words_of(head):
    """The sides that are named; 1 or -1 for front or back, and for big or small, else 0."""

    def says(words):
        return any(re.search(rf'\b{word}\b', head) for word in words)

    words = {
        'left': ('left', 'leftmost'),
        'right': ('right', 'rightmost'),
        'top': ('top', 'upper', 'topmost', 'highest'),
        'bottom': ('bottom', 'lower', 'bottommost', 'lowest'),
    }
    bulk = says(('biggest', 'largest', 'big', 'large')) - says(('smallest', 'small', 'little', 'tiniest'))
    return [side for side, names in words.items() if says(names)], says(FRONT) - says(BACK), bulk


def position(box, side):
    """0..1: how far the centre of a box is on a side of the image."""
    axis = 0 if side in ('left', 'right') else 1
    centre = (box[axis] + box[axis + 2]) / 2
    return centre if side in ('right', 'bottom') else 1 - centre


def side_claim(boxes, side, absolute):
    return lambda i: UNTRUE if absolute and position(boxes[i], side) < 0.5 else position(boxes[i], side)


def size_claim(boxes, sign):
    return lambda i: sign * ((boxes[i][2] - boxes[i][0]) * (boxes[i][3] - boxes[i][1])) ** 0.5


def counted(head, row, boxes):
    """The one with the number that is said, from the side that is said."""
    side = re.search(r'from (?:the )?(left|right)', head).group(1)
    ranked = sorted(row, key=lambda i: -position(boxes[i], side))
    place = NUMBERS[re.search(ORDINAL, head).group()] - 1
    return ranked[place] if place < len(ranked) else None


def row_of(head, group, boxes):
    """The front or the back row: the objects split by height at the widest ratio; empty if none is wide."""

    def height(i):
        return boxes[i][3] - boxes[i][1]

    ranked = sorted(group, key=lambda i: -height(i))
    ratio, cut = max(((height(ranked[k - 1]) / height(ranked[k]), k) for k in range(1, len(ranked))), default=(0, 0))
    if ratio < 1.2:
        return []
    front = any(re.search(rf'\b{word}\b', head) for word in FRONT)
    return ranked[:cut] if front else ranked[cut:]


def relation_claim(relation, anchor, boxes, size):
    """How well an object is a neighbour of the anchor; ``UNTRUE`` if it is on another side."""
    low, high = boxes[anchor][:2], boxes[anchor][2:]

    def centre(box, axis):
        return (box[axis] + box[axis + 2]) / 2

    def gap(i):
        between = [max(boxes[i][a] - high[a], low[a] - boxes[i][a + 2], 0) * size[a] for a in (0, 1)]
        return -((between[0] ** 2 + between[1] ** 2) ** 0.5) / size[0]

    axis, sign = {'left of': (0, -1), 'right of': (0, 1), 'above': (1, -1), 'below': (1, 1)}.get(relation, (0, 0))
    if not sign:
        return gap
    return lambda i: 1 if sign * (centre(boxes[i], axis) - centre(boxes[anchor], axis)) > 0 else UNTRUE

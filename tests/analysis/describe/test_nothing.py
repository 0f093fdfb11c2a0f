"""What fits nothing is proved by the annotations."""

import re

import pytest
from helpers.expression_judge import KINDS, NUMBERS, ORDINAL, kind_of, split_relation
from helpers.made_scenes import NAMES, SIZE, coco_of, random_things

from mmuniqrnet.analysis.describe.choice import generator
from mmuniqrnet.analysis.describe.language import load_language
from mmuniqrnet.analysis.describe.meanings import KINDS as ALL_KINDS
from mmuniqrnet.analysis.describe.meanings import Facts
from mmuniqrnet.analysis.describe.nothing import describe_nothing
from mmuniqrnet.analysis.describe.records import describe
from mmuniqrnet.analysis.describe.scene import read_pictures


def nothing(things, count=12, **image):
    language = load_language()
    (picture,) = read_pictures(coco_of(things, **image))
    return describe_nothing(Facts(picture, language, None), ALL_KINDS, count, generator(0, 'a'))


def fits_nothing(text, things):
    """Whether no object can be meant, from the words alone."""
    head, relation, anchor = split_relation(text.lower())
    if re.search(r'teddy|stuffed', head):
        return not any(kind == 'teddy bear' for kind, _ in things)
    group = [box for kind, box in things if kind == kind_of(head)]
    if not group:
        return True
    if relation:
        return not any(kind == kind_of(anchor) for kind, _ in things)
    number = re.search(ORDINAL, head)
    if number:
        return NUMBERS[number.group()] > len(group)
    sides = dict(left=(0, -1), right=(0, 1), top=(1, -1), upper=(1, -1), bottom=(1, 1), lower=(1, 1))
    said = [sides[word] for word in sides if re.search(rf'\b{word}\b', head)]
    assert said, text
    return all(any(_edge_is_beyond(box, axis, sign) for axis, sign in said) for box in group)


def _edge_is_beyond(box, axis, sign):
    """Whether the whole box is on the other side of the middle line."""
    return box[axis] > SIZE[axis] / 2 if sign < 0 else box[axis + 2] < SIZE[axis] / 2


def test_nothing_fits():
    kinds, checked = set(), 0
    for seed in range(60):
        things = random_things(seed)
        for written in nothing(things):
            if re.search('|'.join(name for names in KINDS.values() for name in names), written.text.lower()):
                if written.meaning.anchor and 'teddy' in written.meaning.anchor.term.singular:
                    continue
                kinds.add(written.meaning.kind)
                checked += 1
                assert fits_nothing(written.text, things), (written.text, things)
    assert kinds == {'name', 'place', 'order', 'relation'} and checked > 300


@pytest.mark.parametrize('image', [dict(persons_only=True), dict(annotated_categories=['person'])])
def test_what_is_not_annotated_may_be_there(image):
    people = [('person', (x, 100, x + 40, 200)) for x in (20, 150)]
    texts = [written.text for written in nothing(people, 30, **image)]
    assert texts and not any(name in text for text in texts for name in NAMES[1:])


def test_a_crowd_may_have_everything():
    crowd = dict(iscrowd=1, segmentation=dict(size=[300, 400], counts=[60000, 3000, 57000]))
    written = nothing([('person', (200, 0, 210, 300), crowd)], 30)
    assert written and all(
        'person' not in one.meaning.noun.term.covers or one.meaning.anchor is None for one in written
    )
    assert not any(one.meaning.noun.term.covers == {'person'} for one in written)


def test_the_share():
    things = [('person', (x, 100, x + 40, 200)) for x in (20, 120, 220, 330)]
    images = [dict(id=n, file_name=f'{n}.jpg', width=400, height=300) for n in range(60)]
    one = coco_of(things)
    annotations = [dict(a, image_id=n, id=4 * n + a['id']) for n in range(60) for a in one['annotations']]
    records, counts = describe(
        dict(one, images=images, annotations=annotations), load_language(), no_target=0.2, per_object=2
    )
    assert counts.expressions['no target'] / counts.expressions.total() == pytest.approx(0.2, abs=0.02)
    marked = [record for record in records if record.get('no_target')]
    assert sum(len(record['expressions']) for record in marked) == counts.expressions['no target']
    assert not any('bbox' in record or 'mask' in record for record in marked)

import re

import pytest
from helpers.made_scenes import NAMES, coco_of

from mmuniqrnet.analysis.describe.scene import plain_name, read_pictures
from mmuniqrnet.utils.errors import UserError

DOG = ('dog', (10, 10, 50, 60))
PERSON = ('person', (100, 10, 150, 160))


def annotated(coco, **options):
    (picture,) = read_pictures(coco, **options)
    return {name for name in NAMES if picture.knows(name)}


def test_which_categories_are_annotated():
    assert annotated(coco_of([DOG])) == set(NAMES)
    assert annotated(coco_of([DOG], persons_only=True)) == {'person'}
    assert annotated(coco_of([DOG], persons_only=False)) == set(NAMES)
    assert annotated(coco_of([DOG], annotated_categories=['Teddy_Bear', 'dog'])) == {'teddy bear', 'dog'}
    assert annotated(coco_of([DOG]), annotated=['dog', 'car']) == {'dog', 'car'}
    assert annotated(coco_of([DOG], persons_only=True), annotated=['dog', 'car']) == set()


def test_the_keys_of_lvis():
    dog, car, bear = (NAMES.index(name) for name in ('dog', 'car', 'bear'))
    coco = coco_of([DOG, PERSON], neg_category_ids=[car], not_exhaustive_category_ids=[dog, bear])
    assert annotated(coco) == {'person', 'car'}


def test_one_photograph_listed_twice_is_one_picture():
    coco = coco_of([DOG], persons_only=True)
    coco['images'].append(dict(id=2, file_name='./a.jpg', width=400, height=300))
    coco['annotations'].append(dict(coco['annotations'][0], id=9, image_id=2, bbox=[200, 10, 30, 40]))
    (picture,) = read_pictures(coco)
    assert [thing.category for thing in picture.things] == ['dog', 'dog'] and picture.annotated == {'person'}


def test_names_and_boxes_from_masks():
    assert plain_name(' Traffic_Light ') == 'traffic light'
    coco = coco_of([DOG])
    coco['annotations'][0].update(bbox=None, segmentation=[[3, 4, 30, 4, 30, 40]])
    (picture,) = read_pictures(coco, aliases={'dog': 'car'})
    assert picture.things[0].box == (3, 4, 30, 40) and picture.things[0].category == 'car'


@pytest.mark.parametrize(
    'change, reason',
    [
        (lambda c: c['images'][0].pop('width'), 'image a.jpg should have "width" and "height"'),
        (lambda c: c['images'][0].update(annotated_categories=['cat']), 'there is no category cat; the categories are'),
        (lambda c: c['images'][0].update(annotated_categories='dog'), 'should be a list of category names'),
        (lambda c: c['annotations'][0].update(bbox=[1, 2, 3]), 'ann_id 0 on image a.jpg: "bbox" should be four'),
    ],
)
def test_what_is_wrong_is_said(change, reason):
    coco = coco_of([DOG])
    change(coco)
    with pytest.raises(UserError, match=reason):
        read_pictures(coco)


@pytest.mark.parametrize(
    'image, object_, reason',
    [
        (dict(neg_category_ids=5), {}, '"neg_category_ids" of image a.jpg should be a list of ids'),
        (dict(not_exhaustive_category_ids=None), {}, '"not_exhaustive_category_ids" of image a.jpg should be a list'),
        (dict(persons_only='false'), {}, '"persons_only" of image a.jpg should be true or false'),
        ({}, dict(iscrowd='no'), """ann_id 0 on image a.jpg: "iscrowd" should be 0 or 1, not 'no\'"""),
        ({}, dict(bbox=None), 'ann_id 0 on image a.jpg: it has neither a box nor a usable mask'),
        (dict(file_name='a\0b.jpg'), {}, '"file_name" of image 0 is'),
        (dict(width='400'), {}, """"width" of image a.jpg should be positive, not '400\'"""),
    ],
)
def test_wrong_types_are_named(image, object_, reason):
    coco = coco_of([(*PERSON, object_)])
    coco['images'][0].update(image)
    with pytest.raises(UserError, match=re.escape(reason)):
        read_pictures(coco)


@pytest.mark.parametrize('name', [' ', '_', None, 3])
def test_a_category_needs_a_name(name):
    coco = coco_of([DOG])
    coco['categories'][1]['name'] = name
    with pytest.raises(UserError, match='category 1'):
        read_pictures(coco)

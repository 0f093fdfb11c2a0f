"""Files in COCO's format whose ids or names are not unique, or which are not whole."""

import copy
import json

import pytest
from helpers.tools import run_dataset_tool

from mmuniqrnet.analysis.coco_subset import write_without_images
from mmuniqrnet.analysis.describe.given_phrases import coco_to_records
from mmuniqrnet.datasets.objects import Repairs
from mmuniqrnet.utils.errors import UserError

BOX = [2.0, 3.0, 10.5, 8.0]
COCO = dict(
    images=[dict(id=1, file_name='a.jpg', width=40, height=30), dict(id=2, file_name='b.jpg', width=40, height=30)],
    categories=[dict(id=1, name='cup'), dict(id=2, name='dog')],
    annotations=[
        dict(id=1, image_id=1, category_id=1, bbox=BOX),
        dict(id=2, image_id=1, category_id=1, bbox=[20.0, 3.0, 10.5, 8.0]),
        dict(id=3, image_id=2, category_id=1, bbox=BOX),
    ],
)
PHRASES = dict(cup=['the cup'])


def changed(change):
    coco = copy.deepcopy(COCO)
    change(coco)
    return coco


def all_ids_zero(coco):
    for annotation in coco['annotations']:
        annotation['id'] = 0


def no_ids(coco):
    for annotation in coco['annotations']:
        del annotation['id']


def two_categories_of_one_name(coco):
    coco['categories'].append(dict(id=3, name='cup', supercategory='cup'))
    coco['annotations'][1]['category_id'] = 3


def one_photograph_under_two_ids(coco):
    coco['images'].append(dict(id=3, file_name='./a.jpg', width=40, height=30))
    coco['annotations'][1]['image_id'] = 3


@pytest.mark.parametrize(
    'change', [lambda coco: None, all_ids_zero, no_ids, two_categories_of_one_name, one_photograph_under_two_ids]
)
def test_two_cups_on_one_image_are_two(change):
    assert [record['image'] for record in coco_to_records(changed(change), PHRASES)] == ['b.jpg']
    assert len(coco_to_records(changed(change), PHRASES, only_single=False)) == 3


BROKEN = {
    'image ids': (lambda c: c['images'][1].update(id=1), r'id\(s\) of images are given more than once \(1\)'),
    'category ids': (lambda c: c['categories'][1].update(id=1), r'of categories are given more than once'),
    'image not listed': (
        lambda c: c['annotations'][0].update(image_id=9),
        'annotation id 1 has image_id 9, which "images"',
    ),
    'category not listed': (lambda c: c['annotations'][0].update(category_id=9), 'has category_id 9'),
    'no image_id': (lambda c: c['annotations'][0].pop('image_id'), 'annotation 0 lacks "image_id"'),
    'no categories': (lambda c: c.pop('categories'), '"images" and "annotations" and "categories"'),
    'objects for a list': (lambda c: c.update(images={}), '"images" should be a list, not dict'),
    'list for an object': (lambda c: c['annotations'].insert(0, [3]), r'annotation 0 should be an object, not \[3\]'),
    'id of a list': (lambda c: c['images'][0].update(id=[1]), r'"id" of image 0 is \[1\]'),
    'no file name': (lambda c: c['images'][0].update(file_name=None), '"file_name" of image 0 is None'),
    'box': (lambda c: c['annotations'][2].update(bbox=[1, 2]), 'ann_id 3 on .*: "bbox" should be four numbers'),
    'mask': (
        lambda c: c['annotations'][2].update(segmentation=dict(size=[30, 40], counts=[3])),
        'ann_id 3 on image b.jpg: .*add up to 3 pixels',
    ),
}


@pytest.mark.parametrize('change, reason', BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_said(change, reason):
    with pytest.raises(UserError, match=reason):
        coco_to_records(changed(change), PHRASES)
    with pytest.raises(UserError):
        coco_to_records([COCO], PHRASES)


def test_what_is_changed_is_counted():
    repairs = Repairs()
    coco = changed(lambda coco: coco['annotations'][2].update(segmentation=[[1, 2]], bbox=[-0.5, 0, 5, 5]))
    [record] = coco_to_records(coco, PHRASES, repairs=repairs)
    assert record['bbox'] == [0, 0, 4.5, 5] and 'mask' not in record
    assert (repairs.clipped, repairs.short_parts, repairs.lost_masks) == (1, 1, [3])


@pytest.mark.parametrize(
    'change, reason',
    [
        (all_ids_zero, 'of annotations are given more than once'),
        (no_ids, 'annotation 0 lacks "image_id" or "id"'),
        (lambda c: c['images'][1].update(id=1), 'of images are given more than once'),
        (lambda c: c['annotations'][0].update(image_id=9), 'has image_id 9'),
    ],
)
def test_pretraining_annotations_have_ids_of_their_own(tmp_path, change, reason):
    (tmp_path / 'coco.json').write_text(json.dumps(changed(change)))
    (tmp_path / 'exclude.json').write_text('[2]')
    with pytest.raises(UserError, match=reason):
        write_without_images(*(str(tmp_path / name) for name in ('coco.json', 'out.json', 'exclude.json')))
    assert not (tmp_path / 'out.json').exists()


def test_ambiguous_objects_are_written_and_said_by_validate(tmp_path, capsys):
    (tmp_path / 'coco.json').write_text(json.dumps(COCO), encoding='utf-8-sig')
    (tmp_path / 'phrases.json').write_text(json.dumps(PHRASES), encoding='utf-8-sig')
    paths = [tmp_path / name for name in ('coco.json', 'phrases.json', 'out.jsonl')]
    assert run_dataset_tool('coco_to_jsonl', *paths, '--ambiguous') == 0
    assert run_dataset_tool('validate', tmp_path / 'out.jsonl') == 0
    said = capsys.readouterr().out
    assert 'line 2: the expression "the cup" is given to another object of a.jpg in line 1' in said
    assert 'no problems, 1 note(s)' in said

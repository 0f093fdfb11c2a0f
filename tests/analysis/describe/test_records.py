import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers.made_scenes import coco_of, random_things
from PIL import Image
from pycocotools import mask as mask_utils

from mmuniqrnet.analysis.describe.language import load_language
from mmuniqrnet.analysis.describe.records import describe, write_jsonl
from mmuniqrnet.datasets import ReferJsonlDataset, validate_jsonl
from mmuniqrnet.utils.errors import UserError

PHOTOS = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'photos'
SQUARE = dict(segmentation=[[20, 100, 60, 100, 60, 200, 20, 200]])
MASKED = ('person', (20, 100, 60, 200), SQUARE)
GOLDEN = [
    ['person to the left', '3rd from right person'],
    ['second person from left', 'the center person'],
    ['the right side person', 'the 3rd person from the left'],
]
BARE = ('person', (300, 100, 340, 200))


def made(things, **options):
    return describe(coco_of(things), load_language(), **options)


def test_lines_are_read_by_the_data_set(tmp_path):
    records, counts = made([MASKED, BARE], no_target=0.3, split='train', kinds=['place', 'order', 'plural'])
    write_jsonl(str(tmp_path / 'a.jsonl'), records)
    assert validate_jsonl(str(tmp_path / 'a.jsonl'), open_images=False) == []
    items = ReferJsonlDataset(ann_file=str(tmp_path / 'a.jsonl'), check_images=False)
    assert len(items) == counts.expressions.total()
    first = items.get_data_info(0)
    assert (
        first['instances'][0]['bbox'] == [20, 100, 60, 200] and first['instances'][0]['mask'] == SQUARE['segmentation']
    )
    with pytest.raises(FileExistsError):
        write_jsonl(str(tmp_path / 'a.jsonl'), records)


def test_a_box_of_less_than_a_pixel_is_filled_with_the_pixels_it_touches(tmp_path):
    records, _ = made([('dog', (100.6, 50.7, 101.2, 51.3))], kinds=['plural'], fill_boxes=True)
    assert [mask_utils.toBbox(record['mask']).tolist() for record in records] == [[100, 50, 2, 2]]
    between = dict(segmentation=[[100.6, 50.6, 100.9, 50.6, 100.9, 50.9]])  # the centres of pixels are at .5
    nothing, _ = made([('dog', (100.6, 50.6, 100.9, 50.9), between)], kinds=['plural'])
    assert nothing and 'mask' not in nothing[0]
    write_jsonl(str(tmp_path / 'a.jsonl'), [*records, *nothing])
    assert validate_jsonl(str(tmp_path / 'a.jsonl'), open_images=False) == []


def test_several_leaves_out_what_is_alone():
    things = [MASKED, BARE, ('dog', (200, 150, 240, 200))]
    records, counts = made(things, several=True)
    assert [record['bbox'][0] for record in records] == [20, 300]
    assert counts.objects['dog'] == {'alone': 1}
    assert len(made(things)[0]) == 3


ROW = [('person', (x, 100, x + 40, 200)) for x in (20, 150, 330)]


def test_the_seed_alone_decides():
    assert made(ROW, seed=3) == made(ROW, seed=3) != made(ROW, seed=4)
    # Python hashes strings differently in every process, which changes the order of sets.
    assert [record['expressions'] for record in made(ROW, seed=3, per_object=2)[0]] == GOLDEN


@pytest.mark.slow
def test_two_processes_write_the_same(tmp_path):
    (tmp_path / 'coco.json').write_text(json.dumps(coco_of(random_things(4))))
    outputs = []
    for hashing in ('1', '2'):
        out = tmp_path / f'{hashing}.jsonl'
        command = [
            sys.executable,
            '-m',
            'mmuniqrnet.cli',
            'describe',
            tmp_path / 'coco.json',
            out,
            '--no-target',
            '0.3',
        ]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, 'PYTHONHASHSEED': hashing})
        outputs.append(out.read_text())
    assert outputs[0] == outputs[1]


def test_another_picture_changes_nothing():
    coco = coco_of([MASKED, BARE])
    coco['images'].insert(0, dict(id=2, file_name='b.jpg', width=400, height=300))
    coco['annotations'].append(dict(id=9, image_id=2, category_id=1, bbox=[10, 10, 80, 80]))
    both, _ = describe(coco, load_language())
    assert [record for record in both if record['image'] == 'a.jpg'] == made([MASKED, BARE])[0]


@pytest.mark.parametrize('fill, share', [(True, 8000), (False, None)])
def test_plurals_are_unions(fill, share):
    records, counts = made([MASKED, BARE, ('dog', (10, 10, 60, 50))], kinds=['plural'], fill_boxes=fill, per_object=5)
    people, dog = records
    assert people['bbox'] == [20, 100, 340, 200] and 'people' in ' '.join(people['expressions'])
    assert set(dog['expressions']) <= {'dog', 'the dog', 'doggy', 'the doggy'}
    assert counts.expressions == {'plural': sum(len(record['expressions']) for record in records)}
    if share is None:
        assert 'mask' not in people
    else:
        assert mask_utils.area(dict(people['mask'], counts=people['mask']['counts'].encode())) == share


def test_the_number_and_kinds_are_those_asked_for():
    records, counts = made([MASKED, BARE], per_object=2, kinds=['place'])
    assert [len(record['expressions']) for record in records] == [2, 2] and set(counts.expressions) == {'place'}
    many, _ = made([MASKED, BARE], per_object=8)
    assert all(len(set(map(str.lower, record['expressions']))) == 8 for record in many)


def test_why_objects_have_no_expression():
    crowd = dict(iscrowd=1, segmentation=dict(size=[300, 400], counts=[60000, 3000, 57000]))
    things = [
        ('person', (200, 0, 210, 300), crowd),
        BARE,
        ('dog', (10, 10, 60, 50)),
        ('dog', (11, 10, 61, 50)),
        ('car', (100, 100, 105, 104)),
        ('bear', (100, 200, 150, 250)),
        ('bear', (112, 210, 162, 260)),
    ]
    _, counts = made(things)
    outcomes = {name: list(counter.elements()) for name, counter in counts.objects.items()}
    assert outcomes == {
        'person': ['crowd', 'beside a crowd'],
        'dog': ['same place'] * 2,
        'car': ['too small'],
        'bear': ['ambiguous'] * 2,
    }
    _, partly = describe(coco_of([BARE, things[2]], persons_only=True), load_language())
    assert partly.objects['dog'] == Counter({'partly annotated': 1})
    table = counts.tables()
    assert 'crowd' in table and table.splitlines()[1].split()[:2] == ['bear', '2']


def test_pictures_are_needed_for_colours_only(tmp_path):
    with pytest.raises(UserError, match=r'a.jpg does not exist; without the images, no colours are said'):
        made([MASKED], images=str(tmp_path))
    Image.new('RGB', (40, 30)).save(tmp_path / 'a.jpg')
    with pytest.raises(UserError, match='has 40x30 pixels, but the annotations say 400x300'):
        made([MASKED], images=str(tmp_path))


@pytest.mark.parametrize(
    'options, reason',
    [
        (dict(no_target=1.0), 'no_target should be a share'),
        (dict(per_object=0), 'per_object should be 1 or more'),
        (dict(kinds=['nouns']), 'kinds should be some of name, place'),
    ],
)
def test_bad_options_are_said(options, reason):
    with pytest.raises(UserError, match=reason):
        made([MASKED], **options)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason='needs ../shared/data: photos')
def test_photographs():
    coco = json.loads((PHOTOS / 'instances_val.json').read_text())
    coco['images'] = coco['images'][:50]
    ids = {image['id'] for image in coco['images']}
    coco['annotations'] = [one for one in coco['annotations'] if one['image_id'] in ids]
    records, counts = describe(coco, load_language(), str(PHOTOS / 'images'), no_target=0.1)
    total = sum(counts.objects.values(), Counter())
    assert total.total() == len(coco['annotations']) and total['described'] > 0.3 * total.total()
    assert {'name', 'place', 'order', 'size', 'color', 'combined', 'no target'} <= set(counts.expressions)
    persons_only = {image['file_name'] for image in coco['images'] if image['persons_only']}
    others = ('dog', 'car', 'chair', 'bus', 'umbrella', 'vehicle')
    for record in records:
        if record['image'] in persons_only:
            assert not any(word in text for text in record['expressions'] for word in others)

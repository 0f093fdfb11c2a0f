import importlib.util
import json
from pathlib import Path

import pytest

from mmuniqrnet.analysis.describe.given_phrases import coco_to_records, phrases_by_category
from mmuniqrnet.datasets import ReferJsonlDataset

ROOT = Path(__file__).resolve().parents[3]
MINI = ROOT.parent / 'shared' / 'data' / 'refcoco_mini'

SQUARE = [[2.0, 3.0, 12.5, 3.0, 12.5, 11.0, 2.0, 11.0]]
COCO = dict(
    images=[dict(id=1, file_name='a.jpg', width=40, height=30), dict(id=2, file_name='b.jpg', width=40, height=30)],
    categories=[dict(id=1, name='cup'), dict(id=5, name='dog')],
    annotations=[
        dict(id=1, image_id=1, category_id=1, iscrowd=0, bbox=[2.0, 3.0, 10.5, 8.0], segmentation=SQUARE),
        dict(id=2, image_id=1, category_id=5, iscrowd=0, bbox=[0.0, 0.0, 5.0, 5.0]),
        dict(id=3, image_id=2, category_id=1, iscrowd=0, bbox=[2.0, 3.0, 10.5, 8.0], segmentation=SQUARE),
        dict(
            id=4,
            image_id=2,
            category_id=1,
            iscrowd=1,
            bbox=[1.0, 3.0, 1.0, 8.0],
            segmentation=dict(size=[30, 40], counts=[33, 8, 1159]),
        ),
    ],
)
PHRASES = dict(cup=['the cup', 'a mug'], dog=['the dog'])


def tool():
    spec = importlib.util.spec_from_file_location('tool_coco', ROOT / 'tools' / 'dataset_tools' / 'coco_to_jsonl.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_what_a_phrase_singles_out():
    assert coco_to_records(COCO, PHRASES, split='train') == [
        dict(
            image='a.jpg',
            expressions=['the cup', 'a mug'],
            bbox=[2.0, 3.0, 12.5, 11.0],
            mask=SQUARE,
            width=40,
            height=30,
            split='train',
        ),
        dict(image='a.jpg', expressions=['the dog'], bbox=[0.0, 0.0, 5.0, 5.0], width=40, height=30, split='train'),
    ]
    everything = coco_to_records(COCO, PHRASES, only_single=False)
    assert [record['image'] for record in everything] == ['a.jpg', 'a.jpg', 'b.jpg', 'b.jpg']
    assert [len(coco_to_records(COCO, dict(cup=['x']), only_single=single)) for single in (True, False)] == [1, 3]


def test_a_crowd_is_never_the_only_one():
    crowd = dict(COCO, annotations=COCO['annotations'][3:])
    with pytest.raises(ValueError, match='no object is left'):
        coco_to_records(crowd, PHRASES)


def test_phrases_of_another_category_are_said(tmp_path):
    with pytest.raises(ValueError, match='no category cat; their categories are cup, dog'):
        coco_to_records(COCO, dict(cat=['the cat']))
    (tmp_path / 'phrases.json').write_text('{"cup": "the cup"}')
    with pytest.raises(ValueError, match='should hold a JSON object of lists of phrases'):
        phrases_by_category(str(tmp_path / 'phrases.json'))


def test_tool_writes_what_the_data_set_reads(tmp_path, capsys):
    paths = [tmp_path / name for name in ('instances.json', 'phrases.json', 'out.jsonl')]
    paths[0].write_text(json.dumps(COCO))
    paths[1].write_text(json.dumps(PHRASES))
    tool().main([*map(str, paths), '--ambiguous'])
    assert '4 objects, 7 expressions' in capsys.readouterr().out
    items = ReferJsonlDataset(ann_file=str(paths[2]), check_images=False)
    assert len(items) == 7
    assert items.get_data_info(0)['instances'][0] == dict(
        bbox=[2.0, 3.0, 12.5, 11.0], mask=SQUARE, bbox_label=0, ignore_flag=0
    )
    with pytest.raises(FileExistsError, match='out.jsonl exists already: .*--overwrite'):
        tool().main([*map(str, paths)])


@pytest.mark.skipif(not MINI.is_dir(), reason='needs ../shared/data: refcoco_mini')
def test_real_annotations(tmp_path):
    coco = json.loads((MINI / 'refcoco' / 'instances.json').read_text())
    phrases = tmp_path / 'phrases.json'
    phrases.write_text(json.dumps({category['name']: [f'the {category["name"]}'] for category in coco['categories']}))
    out = tmp_path / 'mini.jsonl'
    tool().main([str(MINI / 'refcoco' / 'instances.json'), str(phrases), str(out)])
    items = ReferJsonlDataset(ann_file=str(out), data_prefix=dict(img_path=str(MINI / 'images' / 'train2014')))
    per_image = {}
    for annotation in coco['annotations']:
        per_image.setdefault((annotation['image_id'], annotation['category_id']), []).append(annotation)
    single = [group[0] for group in per_image.values() if len(group) == 1 and not group[0]['iscrowd']]
    assert len(items) == len(single) > 5


def test_the_old_place_of_the_functions_works():
    from mmuniqrnet.analysis import coco_to_jsonl

    with pytest.warns(DeprecationWarning, match='use mmuniqrnet.analysis.describe.given_phrases.coco_to_records'):
        assert coco_to_jsonl.coco_to_records is coco_to_records
    with pytest.warns(DeprecationWarning, match='use mmuniqrnet.analysis.describe.records.write_jsonl'):
        assert coco_to_jsonl.write_jsonl

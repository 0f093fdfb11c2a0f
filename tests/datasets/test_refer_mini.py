"""Our own small files in the layouts of REFER, gRefCOCO and ReferItGame, against what their pictures show."""

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.refer_mini import BLUE, CYAN, GREEN, OBJECTS, RED, REFER_MINI, pixels_of
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy.io import loadmat

from mmuniqrnet.datasets import ReferDataset, ReferItDataset
from mmuniqrnet.structures.masks import to_rle

SETS = ['refcoco/refs(unc).p', 'refcoco+/refs(unc).p', 'refcocog/refs(umd).p', 'refcocog/refs(google).p']


def items(dataset) -> list[dict]:
    return [dataset[index] for index in range(len(dataset))]


def read(refs: str, *splits: str, **options) -> list[dict]:
    folder = refs.partition('/')[0]
    return items(
        ReferDataset(
            f'{folder}/instances.json',
            refs,
            str(REFER_MINI),
            dict(img_path='images/train2014/'),
            split=splits,
            dataset_name=folder,
            **options,
        )
    )


def read_all(refs: str) -> list[dict]:
    return read(refs, *sorted({ref['split'] for ref in pickle.loads((REFER_MINI / refs).read_bytes())}))


def test_the_committed_files_are_what_the_script_writes(tmp_path):
    from runpy import run_path

    run_path(str(ROOT / 'tests' / 'data' / 'make_refer_mini.py'))['make'](tmp_path / 'made')
    made, committed = (
        {path.relative_to(root): path for path in root.rglob('*') if path.is_file()}
        for root in (tmp_path / 'made', REFER_MINI)
    )
    assert set(made) == set(committed)
    assert sum(path.stat().st_size for path in committed.values()) < 50_000
    for name, path in made.items():
        other = committed[name]
        if name.suffix == '.jpg':  # encoders differ by a little
            first, second = (np.asarray(Image.open(file), dtype=int) for file in (path, other))
            assert first.shape == second.shape and np.abs(first - second).max() <= 8, name
        elif name.suffix == '.mat':  # and compressors
            assert np.array_equal(loadmat(path)['segimg_t'], loadmat(other)['segimg_t']), name
        elif name.suffix == '.p':
            assert pickle.loads(path.read_bytes()) == pickle.loads(other.read_bytes()), name
        else:
            assert path.read_text(encoding='utf-8') == other.read_text(encoding='utf-8'), name


@pytest.mark.parametrize('refs', SETS)
def test_boxes_and_masks_are_what_the_pictures_show(refs):
    """And what pycocotools' own reader makes of the annotations."""
    coco = COCO(str(REFER_MINI / refs.partition('/')[0] / 'instances.json'))
    found = read_all(refs)
    for item in found:
        (instance,) = item['instances']
        colour, area, edges = OBJECTS[item['ann_id']]
        shown = pixels_of(Path(item['img_path']), colour)
        assert shown.shape == (item['height'], item['width'])
        assert instance['bbox'] == edges
        rows, columns = np.nonzero(shown)
        assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == edges
        mask = coco_mask.decode(to_rle(instance['mask'], item['height'], item['width']))
        assert mask.sum() == area
        np.testing.assert_array_equal(mask, shown)
        np.testing.assert_array_equal(mask, coco.annToMask(coco.anns[item['ann_id']]))


def test_the_annotations_are_of_every_kind():
    annotations = COCO(str(REFER_MINI / 'refcoco' / 'instances.json')).anns
    kinds = Counter(
        f'{len(a["segmentation"])} polygons'
        if isinstance(a['segmentation'], list)
        else type(a['segmentation']['counts'])
        for a in annotations.values()
    )
    assert kinds == {'1 polygons': 3, '2 polygons': 1, '3 polygons': 1, list: 2, str: 2}
    assert [number for number, a in annotations.items() if a['iscrowd']] == [3]


def test_every_sentence_is_an_item_with_the_text_as_typed():
    found = read('refcoco/refs(unc).p', 'train')
    assert [(item['ref_id'], item['sent_id'], item['ann_id'], item['text']) for item in found] == [
        (0, 0, 1, 'The RED block, left!'),
        (0, 1, 1, 'red one'),
        (1, 2, 1, 'block nearest the left edge'),
        (2, 3, 2, 'le rectangle bleu coupé en deux'),
        (2, 4, 2, '蓝色的方块'),
        (2, 5, 2, 'blue, top and bottom'),
        (3, 6, 3, 'the green crowd on the right'),
    ]
    assert [item['text'] for item in read('refcoco/refs(unc).p', 'val')][2:] == ['the purple “L”', 'angle 📐']
    assert {Path(item['img_path']).name for item in found} == {'COCO_train2014_000000000101.jpg'}


@pytest.mark.parametrize(
    'refs, counts',
    [
        ('refcoco/refs(unc).p', dict(train=7, val=4, testA=3, testB=3)),
        ('refcoco+/refs(unc).p', dict(train=1, val=3, testA=1, testB=2)),
        ('refcocog/refs(umd).p', dict(train=1, val=2, test=3)),
        ('refcocog/refs(google).p', dict(train=1, val=1)),
    ],
)
def test_counts(refs, counts):
    assert Counter(item['split'] for item in read_all(refs)) == counts


def test_sent_is_read_where_raw_is_absent(tmp_path):
    refs = pickle.loads((REFER_MINI / 'refcoco' / 'refs(unc).p').read_bytes())
    for ref in refs:
        for sentence in ref['sentences']:
            del sentence['raw']
    path = tmp_path / 'refs(unc).p'
    path.write_bytes(pickle.dumps(refs, protocol=2))
    dataset = ReferDataset('instances.json', str(path), str(REFER_MINI / 'refcoco'), check_images=False)
    assert [item['text'] for item in items(dataset)] == [
        'the red block left',
        'red one',
        'block nearest the left edge',
        'le rectangle bleu coupé en deux',
        '蓝色的方块',
        'blue top and bottom',
        'the green crowd on the right',
    ]


def test_grefcoco_means_several_objects_or_none():
    found = read('grefcoco/grefs(unc).json', 'train', 'val')
    expected = {
        'the red and the blue block': [1, 2],
        'both solid blocks': [1, 2],
        'red': [1],
        'a purple block': [],
        'the dog': [],
        'everything': [4, 5],
        'a red block': [],
    }
    assert [item['text'] for item in found] == list(expected)
    for item in found:
        objects = expected[item['text']]
        assert [instance['bbox'] for instance in item['instances']] == [OBJECTS[number][2] for number in objects]
        for instance, number in zip(item['instances'], objects, strict=True):
            mask = coco_mask.decode(to_rle(instance['mask'], item['height'], item['width']))
            np.testing.assert_array_equal(mask, pixels_of(Path(item['img_path']), OBJECTS[number][0]))
    kept = read('grefcoco/grefs(unc).json', 'train', 'val', filter_cfg=dict(filter_empty_gt=True))
    assert [item['text'] for item in kept] == [text for text, objects in expected.items() if objects]


def test_excluded_images_are_gone():
    assert read('refcoco/refs(unc).p', 'train', 'val', filter_cfg=dict(exclude_img_ids=[101])) == [
        dict(item, sample_idx=index) for index, item in enumerate(read('refcoco/refs(unc).p', 'val'))
    ]


def test_referitgame_boxes_and_masks_are_what_the_pictures_show():
    """Boxes in the file end at the last pixel inside; ours end at its far edge."""
    colours = {'1101_1': RED, '1101_2': BLUE, '1102_1': GREEN, '1103_1': CYAN}
    dataset = ReferItDataset(
        data_root=str(REFER_MINI / 'referit'),
        data_prefix=dict(img_path='images', mask_path='mask'),
        split=['train', 'val', 'test'],
    )
    found = items(dataset)
    assert [(item['split'], item['sent_id'], item['text'], item['img_id']) for item in found] == [
        ('train', '1101_1_0', 'Red block', 1101),
        ('train', '1101_1_1', 'block on left', 1101),
        ('train', '1101_2_0', 'blue wall', 1101),
        ('val', '1102_1_0', 'green band', 1102),
        ('test', '1103_1_0', 'cyan squares', 1103),
        ('test', '1103_1_1', 'les deux carrés', 1103),
    ]
    areas = {'1101_1': 72, '1101_2': 240, '1102_1': 120, '1103_1': 72}
    stored = json.loads((REFER_MINI / 'referit' / 'referit_bbox.json').read_text())
    for item in found:
        (instance,) = item['instances']
        shown = pixels_of(Path(item['img_path']), colours[item['ref_id']])
        rows, columns = np.nonzero(shown)
        x1, y1, x2, y2 = (int(v) for v in (columns.min(), rows.min(), columns.max(), rows.max()))
        assert stored[item['ref_id']] == [x1, y1, x2, y2] and instance['bbox'] == [x1, y1, x2 + 1, y2 + 1]
        mask = coco_mask.decode(instance['mask'])
        assert mask.sum() == areas[item['ref_id']] and shown.shape == (item['height'], item['width'])
        np.testing.assert_array_equal(mask, shown)


def test_the_image_that_referitgame_cannot_use_is_left_out():
    root = str(REFER_MINI / 'referit')
    assert 19579 not in {item['img_id'] for item in items(ReferItDataset(data_root=root))}
    assert 19579 in {item['img_id'] for item in items(ReferItDataset(data_root=root, exclude_images=[]))}

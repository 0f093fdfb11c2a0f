import json
import multiprocessing
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from mmuniqrnet.datasets.refer import ReferDataset
from mmuniqrnet.structures.masks import to_rle

SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'data'
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason='needs ../shared/data: real RefCOCO files')

H, W = 6, 8
BLOCK = np.zeros((H, W), np.uint8, order='F')
BLOCK[1:4, 2:6] = 1
RLE = mask_utils.encode(BLOCK)
RLE['counts'] = RLE['counts'].decode()
COUNTS = [13, 3, 3, 3, 3, 3, 3, 3, 14]  # column by column
UNCOMPRESSED = dict(size=[H, W], counts=COUNTS)
POLYGON = [[2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]]


def write_files(folder, refs=None, annotations=None, images=None, name='refs(unc).p'):
    if images is None:
        images = [dict(id=7, file_name='COCO_7.jpg', height=H, width=W), dict(id=8, file_name='COCO_8.jpg')]
    if annotations is None:
        annotations = [
            dict(id=70, image_id=7, bbox=[2.25, 1.5, 3.5, 2.0], segmentation=POLYGON, iscrowd=0, category_id=1),
            dict(id=71, image_id=7, bbox=[2, 1, 4, 3], segmentation=UNCOMPRESSED, iscrowd=1, category_id=1),
            dict(id=72, image_id=7, bbox=[2, 1, 4, 3], segmentation=RLE, iscrowd=0, category_id=1),
            dict(id=73, image_id=7, bbox=[0, 0, 1, 1], segmentation=[], iscrowd=0, category_id=1),
            dict(id=80, image_id=8, segmentation=POLYGON + POLYGON, iscrowd=0, category_id=1),
        ]
    if refs is None:
        refs = [
            ref(0, 70, [(0, ' Left Man '), (1, 'man')]),
            ref(1, 70, [(2, 'the same man again')]),
            ref(2, 71, [(3, 'crowd')]),
            ref(3, 72, [(4, 'rle')], split='val'),
            ref(4, 80, [(5, 'other image')], split='val', image_id=8),
        ]
    (folder / 'instances.json').write_text(json.dumps(dict(images=images, annotations=annotations, categories=[])))
    path = folder / name
    path.write_text(json.dumps(refs)) if name.endswith('json') else path.write_bytes(pickle.dumps(refs, protocol=2))
    return dict(ann_file='instances.json', split_file=name, data_root=str(folder))


def ref(ref_id, ann_id, sentences, split='train', image_id=7, **more):
    sentences = [dict(sent_id=sent_id, raw=raw, sent=raw.strip().lower(), tokens=[]) for sent_id, raw in sentences]
    return dict(
        ref_id=ref_id,
        ann_id=ann_id,
        image_id=image_id,
        split=split,
        sentences=sentences,
        file_name='COCO_7_70.jpg',
        category_id=1,
        sent_ids=[s['sent_id'] for s in sentences],
        **more,
    )


def items(dataset):
    return [dataset[index] for index in range(len(dataset))]


def test_one_item_per_expression_also_with_two_refs_on_one_object(tmp_path):
    found = items(ReferDataset(**write_files(tmp_path), data_prefix=dict(img_path='images'), check_images=False))
    assert [item['text'] for item in found] == ['Left Man', 'man', 'the same man again', 'crowd']
    assert [item['ref_id'] for item in found] == [0, 0, 1, 2]
    assert [item['sent_id'] for item in found] == [0, 1, 2, 3]
    assert {item['img_path'] for item in found} == {str(tmp_path / 'images' / 'COCO_7.jpg')}
    assert found[2]['instances'] == [dict(bbox=[2.25, 1.5, 5.75, 3.5], mask=POLYGON, bbox_label=0, ignore_flag=0)]
    assert (found[0]['height'], found[0]['width']) == (H, W)
    assert (found[0]['dataset'], found[0]['split']) == ('refcoco', 'train')


def test_masks_pass_as_found_and_are_the_same_pixels(tmp_path):
    dataset = ReferDataset(**write_files(tmp_path), split=['train', 'val'])
    masks = {item['ann_id']: item['instances'][0]['mask'] for item in items(dataset)}
    assert masks[71] == UNCOMPRESSED and masks[72] == RLE and masks[80] == POLYGON + POLYGON
    for mask in masks.values():
        assert (mask_utils.decode(to_rle(mask, H, W)) == BLOCK).all()
    last = dataset[len(dataset) - 1]
    assert 'bbox' not in last['instances'][0] and 'height' not in last


def test_list_of_rles_as_in_refclef(tmp_path):
    other = np.zeros_like(BLOCK)
    other[5, 7] = 1
    annotations = [
        dict(id=70, image_id=7, bbox=[0, 0, 1, 1], segmentation=[UNCOMPRESSED]),
        dict(id=71, image_id=7, bbox=[0, 0, 1, 1], segmentation=[UNCOMPRESSED, dict(size=[H, W], counts=[47, 1])]),
    ]
    files = write_files(tmp_path, [ref(0, 70, [(0, 'a')]), ref(1, 71, [(1, 'b')])], annotations)
    one, two = (item['instances'][0]['mask'] for item in items(ReferDataset(**files)))
    assert one == UNCOMPRESSED
    assert (mask_utils.decode(two) == (BLOCK | other)).all()


def test_json_refs_equal_pickled_refs(tmp_path):
    pickled = items(ReferDataset(**write_files(tmp_path)))
    assert items(ReferDataset(**write_files(tmp_path, name='refs(unc).json'))) == pickled


def test_sent_stands_in_for_raw(tmp_path):
    refs = [ref(0, 70, [(0, 'Raw')])]
    del refs[0]['sentences'][0]['raw']
    assert ReferDataset(**write_files(tmp_path, refs))[0]['text'] == 'raw'


def test_mixed_splits_keep_their_names(tmp_path):
    dataset = ReferDataset(**write_files(tmp_path), split=['val', 'train'])
    assert Counter(item['split'] for item in items(dataset)) == dict(train=4, val=2)


def test_grefcoco_has_several_or_no_targets(tmp_path):
    refs = [
        ref(0, [70, 72], [(0, 'both')], no_target=False),
        ref(1, [-1], [(1, 'nobody')], no_target=True),
        ref(2, [], [(2, 'none')]),
    ]
    files = write_files(tmp_path, refs)
    dataset = ReferDataset(**files)
    assert [[instance['bbox'] for instance in item['instances']] for item in items(dataset)] == [
        [[2.25, 1.5, 5.75, 3.5], [2.0, 1.0, 6.0, 4.0]],
        [],
        [],
    ]
    kept = ReferDataset(**files, filter_cfg=dict(filter_empty_gt=True))
    assert [item['text'] for item in items(kept)] == ['both']
    with pytest.raises(ValueError, match='ref_id 5 has "no_target": true, but also ann_id'):
        ReferDataset(**write_files(tmp_path, [ref(5, [70], [(0, 'a')], no_target=True)]))


def test_exclude_images_of_other_sets(tmp_path):
    dataset = ReferDataset(**write_files(tmp_path), split=['train', 'val'], filter_cfg=dict(exclude_img_ids=[7]))
    assert [item['text'] for item in items(dataset)] == ['other image']
    with pytest.raises(ValueError, match='unknown key.*exclude_images'):
        ReferDataset(**write_files(tmp_path), filter_cfg=dict(exclude_images=[7]))
    with pytest.raises(ValueError, match='no expression of split train is left'):
        ReferDataset(**write_files(tmp_path), filter_cfg=dict(exclude_img_ids=[7]))


def test_exclude_images_listed_in_a_file(tmp_path):
    files = dict(write_files(tmp_path), split=['train', 'val'])
    (tmp_path / 'ids.json').write_text('[7, 99]')
    for path in ('ids.json', str(tmp_path / 'ids.json')):
        dataset = ReferDataset(**files, filter_cfg=dict(exclude_img_ids=path))
        assert [item['text'] for item in items(dataset)] == ['other image']
    with pytest.raises(
        FileNotFoundError, match=r'exclude_img_ids ".*idz\.json" does not exist.*leakage\.py.*ids\.json'
    ):
        ReferDataset(**files, filter_cfg=dict(exclude_img_ids='idz.json'))
    for text, message in (
        ('{"ids": [7]}', 'should hold a JSON list of image ids'),
        ('["7"]', "image id '7', but .* int"),
    ):
        (tmp_path / 'ids.json').write_text(text)
        with pytest.raises(ValueError, match=message):
            ReferDataset(**files, filter_cfg=dict(exclude_img_ids='ids.json'))


@pytest.mark.parametrize('serialize', [True, False])
def test_mmengines_hooks(tmp_path, serialize):
    files = dict(write_files(tmp_path), split=['train', 'val'], serialize_data=serialize)
    full = ReferDataset(**files)
    expected = items(full)

    def same(dataset, indices):
        return [dict(item, sample_idx=0) for item in items(dataset)] == [
            dict(expected[index], sample_idx=0) for index in indices
        ]

    assert same(ReferDataset(**files, indices=2), [0, 1])
    assert same(ReferDataset(**files, indices=[3, 1]), [3, 1])
    assert same(full.get_subset(3), [0, 1, 2]) and same(full.get_subset([5, 0]), [5, 0])
    assert same(pickle.loads(pickle.dumps(full)), range(6))
    lazy = ReferDataset(**files, lazy_init=True)
    assert not lazy.data_list and not len(lazy.instance_store)
    assert same(lazy, range(6))
    assert same(ConcatDataset([full, full.get_subset(1)]), [*range(6), 0])
    full.get_subset_([4])
    assert same(full, [4])
    # what a transform does to an item must not reach the next reader
    full[0]['instances'][0]['mask'].clear()
    assert same(full, [4])
    with multiprocessing.get_context('fork').Pool(2) as pool:
        assert pool.map(full.__getitem__, [0, 0]) == [full[0], full[0]]


def test_mmdets_names_build_from_the_registry(tmp_path):
    from mmengine.registry import DATASETS

    files = write_files(tmp_path)
    dataset = DATASETS.build(dict(type='mmuniqrnet.ReferDataset', **files, pipeline=[], test_mode=True))
    assert len(dataset) == 4 and dataset.metainfo['classes'] == ('referent',)


class TestErrors:
    def error(self, kind, files, **more):
        with pytest.raises(kind) as caught:
            ReferDataset(**dict(files, **more))
        return str(caught.value)

    def test_missing_files(self, tmp_path):
        files = write_files(tmp_path)
        message = self.error(FileNotFoundError, files, split_file='refs(umd).p')
        assert str(tmp_path / 'refs(umd).p') in message and 'refs(unc).p' in message
        message = self.error(FileNotFoundError, files, ann_file='instance.json')
        assert 'ann_file' in message and 'Did you mean instances.json' in message
        message = self.error(FileNotFoundError, files, data_root='/nowhere')
        assert 'folder /nowhere does not exist' in message

    def test_unknown_split(self, tmp_path):
        message = self.error(ValueError, write_files(tmp_path), split='testA')
        assert "refs(unc).p has no split 'testA'; it has 'train', 'val'" in message

    @pytest.mark.parametrize(
        'refs, expected',
        [
            ([ref(5, 99, [(0, 'a')])], 'ref_id 5 refers to ann_id 99, which'),
            ([ref(5, 70, [(0, 'a')], image_id=9)], 'ref_id 5 is on image_id 9, which'),
            ([ref(5, 70, [(0, 'a')], image_id=8)], 'ann_id 70, which is on image_id 7'),
            ([ref(5, 70, [(3, '  ')])], 'ref_id 5, sent_id 3, is empty'),
            ([dict(ref_id=5, image_id=7, split='train', sentences=[])], 'ref_id 5 lacks ann_id'),
            (dict(a=1), 'should hold a list of refs'),
        ],
    )
    def test_refs_that_do_not_fit(self, tmp_path, refs, expected):
        message = self.error(ValueError, write_files(tmp_path, refs))
        assert expected in message and str(tmp_path / 'refs(unc).p') in message

    @pytest.mark.parametrize(
        'text, expected',
        [
            ('{"images": [', 'not valid JSON'),
            ('[]', 'should be a JSON object with "images"'),
            ('{"images": [{"id": 1}], "annotations": []}', 'lacks "id" or "file_name"'),
        ],
    )
    def test_bad_instances(self, tmp_path, text, expected):
        files = write_files(tmp_path)
        (tmp_path / 'instances.json').write_text(text)
        message = self.error(ValueError, files)
        assert expected in message and str(tmp_path / 'instances.json') in message

    def test_refs_of_another_ending(self, tmp_path):
        assert 'ends in ".txt"' in self.error(ValueError, write_files(tmp_path, name='refs.txt'))

    def test_images_are_missing(self, tmp_path):
        files = write_files(tmp_path)
        message = self.error(FileNotFoundError, files, data_prefix=dict(img_path='train2014'))
        assert str(tmp_path / 'train2014' / 'COCO_7.jpg') in message and 'images of refcoco belong in' in message
        (tmp_path / 'train2014').mkdir()
        (tmp_path / 'train2014' / 'COCO_7.jpg').touch()
        assert len(ReferDataset(**files, data_prefix=dict(img_path='train2014'))) == 4

    def test_unknown_prefix(self, tmp_path):
        assert 'unknown key(s) img' in self.error(ValueError, write_files(tmp_path), data_prefix=dict(img='a'))


@needs_shared
@pytest.mark.parametrize('name', ['refcoco', 'refcoco+'])
@pytest.mark.parametrize('split', ['val', 'testA', 'testB'])
def test_official_counts(name, split):
    official = json.loads((SHARED / 'official_counts.json').read_text())[f'{name}(unc)'][split]
    dataset = ReferDataset(
        'instances.json', 'refs(unc).p', str(SHARED / 'refcoco_boxes' / name), split=split, dataset_name=name
    )
    found = items(dataset)
    assert len(found) == official['expressions'] == len({item['sent_id'] for item in found})
    assert len({item['ref_id'] for item in found}) == official['refs']
    assert len({item['img_id'] for item in found}) == official['images']


@needs_shared
@pytest.mark.parametrize(
    'name, refs, splits',
    [('refcoco', 'unc', ['val', 'testB']), ('refcoco+', 'unc', None), ('refcocog', 'umd', ['val', 'test'])],
)
def test_real_boxes_and_masks_are_those_of_pycocotools(name, refs, splits):
    folder = SHARED / 'refcoco_mini' / name
    raw = pickle.loads((folder / f'refs({refs}).p').read_bytes())
    coco = COCO(str(folder / 'instances.json'))
    dataset = ReferDataset(
        'instances.json',
        f'refs({refs}).p',
        str(folder),
        dict(img_path='../images/train2014'),
        split=splits or sorted({one['split'] for one in raw}),
        dataset_name=name,
    )
    found = items(dataset)
    expected = {(one['ref_id'], s['sent_id'], s['raw']) for one in raw for s in one['sentences']}
    assert {(item['ref_id'], item['sent_id'], item['text']) for item in found} == expected
    assert len(found) == len(expected)
    for item in found:
        [instance] = item['instances']
        annotation = coco.anns[item['ann_id']]
        x, y, w, h = annotation['bbox']
        assert instance['bbox'] == [x, y, x + w, y + h]
        rle = to_rle(instance['mask'], item['height'], item['width'])
        assert (mask_utils.decode(rle) == coco.annToMask(annotation)).all()
        assert Path(item['img_path']).is_file()
        assert coco.imgs[item['img_id']]['file_name'] == Path(item['img_path']).name

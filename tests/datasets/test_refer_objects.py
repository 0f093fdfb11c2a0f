"""Boxes, masks and ids of REFER files that are not as they should be."""

import json

import numpy as np
import pytest
from helpers.data_trees import change_annotation, write_set
from helpers.refer_samples import evaluate, with_prediction
from pycocotools import mask as coco_mask

from mmuniqrnet.analysis import KNOWN_SETS, verify_set
from mmuniqrnet.datasets.refer import ReferDataset
from mmuniqrnet.datasets.transforms import LoadReferAnnotations
from mmuniqrnet.evaluation.referring_metric import ReferringMetric
from mmuniqrnet.utils.errors import UserError

W, H = 40, 30
SQUARE = [2.0, 3.0, 12.5, 3.0, 12.5, 11.0, 2.0, 11.0]
SMALL_RLE = coco_mask.encode(np.ones((10, 20), np.uint8, order='F'))['counts'].decode()


def load(root, split='train', **options):
    return ReferDataset('refcoco/instances.json', 'refcoco/refs(unc).p', str(root), split=split, **options)


def change_list(folder, name, change):
    content = json.loads((folder / 'instances.json').read_text())
    change(content[name])
    (folder / 'instances.json').write_text(json.dumps(content))


UNREADABLE = {
    'flat list': (dict(segmentation=SQUARE), 'one flat list of numbers'),
    'odd polygon': (dict(segmentation=[[*SQUARE, 1.0]]), 'odd number of coordinates'),
    'text': (dict(segmentation=[['a', 'b', 'c', 'd', 'e', 'f']]), '"segmentation" should be a list of polygons'),
    'number': (dict(segmentation=3), '"segmentation" should be a list of polygons'),
    'RLE of another size': (
        dict(segmentation=dict(size=[10, 20], counts=SMALL_RLE)),
        r'has size \[10, 20\] \(height, width\), but the image has 40x30',
    ),
    'RLE that does not fill its size': (
        dict(segmentation=dict(size=[H, W], counts=SMALL_RLE)),
        'add up to 200 pixels',
    ),
    'RLE in a list': (dict(segmentation=[dict(size=[H, W], counts=SMALL_RLE)]), 'add up to 200 pixels'),
    'RLE as bytes in text': (
        dict(segmentation=dict(size=[H, W], counts=f"b'{SMALL_RLE}'")),
        'bytes written as text',
    ),
    'box of three': (dict(bbox=[1, 2, 3]), r'"bbox" should be four numbers \[x, y, width, height\], not \[1, 2, 3\]'),
    'box beyond float': (dict(bbox=[2, 3, 10**400, 8]), '"bbox" should be four numbers'),
    'box of text': (dict(bbox=['1', 2, 3, 4]), '"bbox" should be four numbers'),
    'box without area': (dict(bbox=[2.0, 3.0, 0.0, 8.0]), r'the box \[2.0, 3.0, 2.0, 11.0\] has no area'),
    'box outside': (dict(bbox=[30.0, 3.0, 11.0, 8.0]), 'reaches outside the image of 40x30 pixels'),
    'nothing': (dict(bbox=None, segmentation=[]), 'neither a box nor a usable mask'),
    'nothing, twice': (dict(bbox=[], segmentation=[]), 'neither a box nor a usable mask'),
    'nothing usable': (dict(bbox=None, segmentation=[[]]), 'neither a box nor a usable mask'),
    'no pixel': (dict(bbox=[], segmentation=[[10, 10, 10.2, 10, 10.2, 10.2]]), 'neither a box nor a usable mask'),
}


@pytest.mark.parametrize('changes, reason', UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_names_its_object_and_verify_finds_it(tmp_path, changes, reason):
    change_annotation(write_set(tmp_path, 'refcoco', 'unc', dict(train=[7, 8])), 2, **changes)
    with pytest.raises(UserError, match=f'ann_id 2 on image 8: .*{reason}'):
        load(tmp_path)
    found = verify_set(KNOWN_SETS['refcoco(unc)'], str(tmp_path))
    assert len(found.problems) == 1 and found.problems[0].startswith('ann_id 2 on image 8: ')
    assert found.counts['train']['expressions'] == 4  # the rest is read


def test_short_parts_are_dropped_and_counted(tmp_path, capfd):
    folder = write_set(tmp_path, 'refcoco', 'unc', dict(train=[7, 8, 9]))
    change_annotation(folder, 1, segmentation=[[], SQUARE, [1.0, 2.0, 3.0, 4.0]])
    change_annotation(folder, 2, segmentation=[[]])
    change_annotation(folder, 3, segmentation=[])
    dataset = load(tmp_path)
    assert dataset.repairs.short_parts == 3 and dataset.repairs.lost_masks == [2]
    assert verify_set(KNOWN_SETS['refcoco(unc)'], str(tmp_path)).notes == dataset.repairs.sentences()
    found = {item['ann_id']: item['instances'][0] for item in dataset}
    assert found[1]['mask'] == [SQUARE] and 'mask' not in found[2] and 'mask' not in found[3]
    loaded = LoadReferAnnotations()(dict(next(i for i in dataset if i['ann_id'] == 2), ori_shape=(H, W)))
    assert loaded['has_box'] and not loaded['has_mask']


@pytest.mark.parametrize('bbox', [None, []])
def test_an_object_without_a_box_is_cropped_by_its_mask_but_trains_no_box(tmp_path, bbox):
    folder = write_set(tmp_path, 'refcoco', 'unc', dict(train=[7]))
    change_annotation(folder, 1, bbox=bbox)
    item = load(tmp_path)[0]
    assert 'bbox' not in item['instances'][0] and item['instances'][0]['mask'] == [SQUARE]
    loaded = LoadReferAnnotations()(dict(item, ori_shape=(H, W)))
    assert not loaded['has_box'] and loaded['gt_bboxes'].tensor.tolist() == [[2, 3, 12.5, 11]]


SLIVER = [2.0, 10.0, 38.0, 10.2, 2.0, 10.2]  # long, but between the pixels
NO_PIXEL = {
    'tiny': [[10, 10, 10.2, 10, 10.2, 10.2]],
    'sliver': [SLIVER],
    'outside': [[50, 10, 60, 10, 60, 20]],
    'several': [SLIVER, [-9, -9, -2, -9, -2, -2]],
}


@pytest.mark.parametrize('segmentation', NO_PIXEL.values(), ids=NO_PIXEL)
def test_polygons_without_a_pixel_are_no_mask(tmp_path, segmentation):
    folder = write_set(tmp_path, 'refcoco', 'unc', dict(train=[7, 8]))
    change_annotation(folder, 1, segmentation=segmentation)
    change_annotation(folder, 2, segmentation=[*segmentation, [10, 10, 12, 10, 12, 12]])
    dataset = load(tmp_path)
    assert dataset.repairs.lost_masks == [1]
    found = {item['ann_id']: item['instances'][0] for item in dataset}
    assert 'mask' not in found[1] and len(found[2]['mask']) == len(segmentation) + 1
    loaded = LoadReferAnnotations()(dict(dataset[0], ori_shape=(H, W)))
    assert loaded['has_box'] and not loaded['has_mask']
    change_list(folder, 'images', lambda images: [image.pop('width') for image in images])
    assert load(tmp_path).repairs.lost_masks == []  # only the size of the image tells


@pytest.mark.parametrize('segmentation', [[[]], [[1, 2, 3, 4]], dict(size=[H, W], counts=[H * W]), [SLIVER]])
def test_evaluation_of_masks_stops_at_a_mask_without_a_usable_part(tmp_path, segmentation):
    folder = write_set(tmp_path, 'refcoco', 'unc', dict(train=[7]))
    change_annotation(folder, 1, segmentation=segmentation)
    item = dict(load(tmp_path)[0], ori_shape=(H, W))
    box_only = with_prediction(item, box=[2.0, 3.0, 12.5, 11.0])
    assert evaluate(ReferringMetric(), [box_only])['refcoco/train/Acc@0.5'] == 100
    with pytest.raises(UserError, match='the mask of ann_id 1 has no part of three points'):
        evaluate(ReferringMetric(), [with_prediction(item, mask=np.ones((H, W), bool))])
    change_annotation(folder, 1, segmentation=[])  # no mask was given: boxes alone are evaluated
    item = dict(load(tmp_path)[0], ori_shape=(H, W))
    both = with_prediction(item, box=[2.0, 3.0, 12.5, 11.0], mask=np.ones((H, W), bool))
    assert evaluate(ReferringMetric(), [both])['refcoco/train/Acc@0.5'] == 100


def test_boxes_less_than_a_pixel_outside_are_clipped_and_counted(tmp_path):
    folder = write_set(tmp_path, 'refcoco', 'unc', dict(train=[7, 8, 9]))
    outside = [-0.5, -0.5, 40.5, -0.5, 40.5, 30.5, -0.5, 30.5]
    change_annotation(folder, 1, bbox=[-0.5, -0.5, 41.0, 31.0], segmentation=[outside])
    change_annotation(folder, 2, bbox=[30.0, 3.0, 10.004, 8.0], segmentation=[])  # rounding
    dataset = load(tmp_path)
    boxes = {item['ann_id']: item['instances'][0]['bbox'] for item in dataset}
    assert boxes == {1: [0, 0, W, H], 2: [30, 3, 40.004, 11], 3: [2, 3, 12.5, 11]}
    assert dataset.repairs.clipped == 1
    found = verify_set(KNOWN_SETS['refcoco(unc)'], str(tmp_path))
    assert found.problems == [] and found.notes == [
        '1 box(es) reach less than a pixel outside their image and are clipped'
    ]


REPEATED = {
    'annotations': (lambda folder: change_annotation(folder, 2, id=1, image_id=7), r'id\(s\) of annotations .*\(1\)'),
    'images': (
        lambda folder: change_list(folder, 'images', lambda images: images[1].update(id=7)),
        r'of images .*\(7\)',
    ),
}


@pytest.mark.parametrize('change, reason', REPEATED.values(), ids=REPEATED)
def test_repeated_ids_of_annotations_and_images(tmp_path, change, reason):
    folder = write_set(tmp_path, 'refcoco', 'unc', dict(train=[7, 8]))
    change(folder)
    with pytest.raises(UserError, match=f'instances.json: .*{reason}'):
        load(tmp_path)
    assert any(
        'given more than once' in problem for problem in verify_set(KNOWN_SETS['refcoco(unc)'], str(tmp_path)).problems
    )


@pytest.mark.parametrize(
    'key, reason', [('ref_id', r'ref_id\(s\) of refs .*\(1\)'), ('sent_id', r'sent_id\(s\) .*\(2\)')]
)
@pytest.mark.parametrize('images', [dict(train=[7, 8]), dict(train=[7], val=[8])], ids=['a split', 'two splits'])
def test_repeated_ids_of_refs_and_sentences(tmp_path, key, reason, images):
    import pickle

    folder = write_set(tmp_path, 'refcoco', 'unc', images)
    refs = pickle.loads((folder / 'refs(unc).p').read_bytes())
    target = refs[1] if key == 'ref_id' else refs[1]['sentences'][0]
    target[key] = 1 if key == 'ref_id' else refs[0]['sentences'][0]['sent_id']
    (folder / 'refs(unc).p').write_bytes(pickle.dumps(refs))
    with pytest.raises(UserError, match=reason):
        load(tmp_path, split=list(images))
    assert any(f'{key}(s)' in problem for problem in verify_set(KNOWN_SETS['refcoco(unc)'], str(tmp_path)).problems)
    if len(images) == 2:  # alone, each split is sound
        assert len(load(tmp_path, split='train')) == len(load(tmp_path, split='val')) == 2


def test_half_of_a_surrogate_pair_in_an_expression(tmp_path):
    folder = write_set(tmp_path, 'refcoco', 'unc', dict(train=[7, 8]))
    sentences = [dict(sent_id=1, raw='the \ud83d\ude00 dog'), dict(sent_id=2, raw='the \ud83d dog')]
    ref = dict(ref_id=1, ann_id=1, image_id=7, split='train', sentences=sentences)
    (folder / 'refs.json').write_text(json.dumps([ref]).replace('\\ud83d\\ude00', '\\uD83D\\uDE00'))
    reason = r"refs.json: the expression of ref_id 1, sent_id 2, 'the \\ud83d dog', is not valid Unicode \(an emoji"
    with pytest.raises(UserError, match=f'has 1 problem.*{reason}'):
        ReferDataset('refcoco/instances.json', 'refcoco/refs.json', str(tmp_path), split='train')


def test_an_image_that_cannot_be_decoded_is_named_in_training_and_by_verify(tmp_path):
    write_set(tmp_path, 'refcoco', 'unc', dict(train=[7]), size=(400, 300))
    dataset = load(
        tmp_path,
        data_prefix=dict(img_path='coco/train2014'),
        pipeline=[dict(type='mmcv.LoadImageFromFile', color_type='color_ignore_orientation')],
    )
    assert dataset[0]['img'].shape == (300, 400, 3)
    [photo] = (tmp_path / 'coco' / 'train2014').iterdir()
    photo.write_bytes(photo.read_bytes()[:-700])
    with pytest.raises(
        UserError, match=rf"{photo.name} is not a readable image .*'left cup' \(sent_id 2\) refers to it"
    ):
        dataset[0]
    problems = verify_set(KNOWN_SETS['refcoco(unc)'], str(tmp_path)).problems
    assert any(f'{photo.name} is not a readable image' in problem for problem in problems)
    photo.unlink()
    with pytest.raises(FileNotFoundError, match=rf'the image .*{photo.name} does not exist; expression'):
        dataset[0]


def test_a_path_of_windows_is_said(tmp_path):
    folder = write_set(tmp_path, 'refcoco', 'unc', dict(train=[7, 8]))
    change_list(folder, 'images', lambda images: images[1].update(file_name='train2014\\b.jpg'))
    with pytest.raises(FileNotFoundError, match=r'b.jpg does not exist: .*has backslashes, as on Windows; write paths'):
        load(tmp_path, data_prefix=dict(img_path='coco/train2014'))

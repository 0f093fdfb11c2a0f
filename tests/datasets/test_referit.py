import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_utils
from scipy.io import savemat

from mmuniqrnet.datasets.referit import ReferItDataset

SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'data'
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason='needs ../shared/data: real ReferItGame files')

W, H = 8, 6
OBJECT = np.zeros((H, W), np.uint8)
OBJECT[2:6, 3:8] = 1


def write_files(folder, queries=None, boxes=None):
    rows, columns = np.nonzero(OBJECT)
    inclusive = [int(value) for value in (columns.min(), rows.min(), columns.max(), rows.max())]
    content = {
        'referit_query_train.json': queries or {'11_1': [' The wall ', 'wall'], '11_2': ['sky'], '19579_1': ['trees']},
        'referit_query_val.json': {'12_1': ['sea']},
        'referit_bbox.json': boxes or dict.fromkeys(('11_1', '11_2', '12_1', '19579_1'), inclusive),
        'referit_imsize.json': {name: [W, H] for name in ('11.jpg', '12.jpg', '19579.jpg')},
    }
    for name, value in content.items():
        (folder / name).write_text(json.dumps(value))
    return str(folder)


def test_one_item_per_expression_without_unusable_images(tmp_path):
    dataset = ReferItDataset(data_root=write_files(tmp_path), data_prefix=dict(img_path='images'), check_images=False)
    assert [(item['text'], item['sent_id'], item['ref_id'], item['img_id']) for item in dataset] == [
        ('The wall', '11_1_0', '11_1', 11),
        ('wall', '11_1_1', '11_1', 11),
        ('sky', '11_2_0', '11_2', 11),
    ]
    assert dataset[0]['img_path'] == str(tmp_path / 'images' / '11.jpg')
    assert (dataset[0]['width'], dataset[0]['height'], dataset[0]['split']) == (W, H, 'train')
    assert len(ReferItDataset(data_root=str(tmp_path), exclude_images=[])) == 4
    assert [item['split'] for item in ReferItDataset(data_root=str(tmp_path), split=['val', 'train'])][:2] == [
        'val',
        'train',
    ]


def test_inclusive_box_covers_the_masks_pixels(tmp_path):
    root = write_files(tmp_path)
    (tmp_path / 'mask').mkdir()
    for key in ('11_1', '11_2'):
        savemat(tmp_path / 'mask' / f'{key}.mat', dict(segimg_t=np.where(OBJECT, 0, 255).astype(np.uint8)))
    for item in ReferItDataset(data_root=root, data_prefix=dict(mask_path='mask')):
        [instance] = item['instances']
        assert (mask_utils.decode(instance['mask']) == OBJECT).all()
        x, y, w, h = mask_utils.toBbox(instance['mask'])
        assert instance['bbox'] == [x, y, x + w, y + h] == [3, 2, 8, 6]
    assert 'mask' not in ReferItDataset(data_root=root)[0]['instances'][0]


def test_masks_that_are_missing_or_wrong(tmp_path):
    root = write_files(tmp_path)
    options = dict(data_root=root, data_prefix=dict(mask_path='mask'))
    with pytest.raises(FileNotFoundError, match=r'11_1\.mat does not exist; SAIAPR'):
        ReferItDataset(**options)
    (tmp_path / 'mask').mkdir()
    savemat(tmp_path / 'mask' / '11_1.mat', dict(segimg_t=OBJECT.T))
    dataset = ReferItDataset(**options)
    with pytest.raises(ValueError, match=r'11_1\.mat is 6x8 pixels, but its image 8x6'):
        dataset[0]
    with pytest.raises(FileNotFoundError, match=r'The mask .*11_2\.mat does not exist'):
        dataset[2]
    savemat(tmp_path / 'mask' / '11_1.mat', dict(other=OBJECT))
    with pytest.raises(ValueError, match=r'11_1\.mat is not a readable mask'):
        dataset[0]


@pytest.mark.parametrize(
    'queries, boxes, expected',
    [
        (None, {'11_1': [0, 0, W, 3]}, r'referit_bbox.json: the box \[0, 0, 8, 3\] of 11_1 is not within'),
        ({'13_1': ['a']}, None, r'referit_query_train.json: 13_1 has no box in .*referit_bbox.json'),
        ({'13_1': ['a']}, {'13_1': [0, 0, 1, 1]}, r'13_1 has no image size in .*referit_imsize.json'),
        ({'11_1': ['a', ' ']}, None, r'referit_query_train.json: expression 1 of 11_1 is empty'),
        (None, [1], r'referit_bbox.json should hold a JSON object of lists'),
    ],
)
def test_files_that_do_not_fit(tmp_path, queries, boxes, expected):
    with pytest.raises(ValueError, match=expected):
        ReferItDataset(data_root=write_files(tmp_path, queries, boxes))


def test_missing_splits_and_files(tmp_path):
    root = write_files(tmp_path)
    with pytest.raises(ValueError, match="has no split 'testA'; it has train, val"):
        ReferItDataset(data_root=root, split='testA')
    with pytest.raises(ValueError, match='needs "{split}" in it'):
        ReferItDataset(data_root=root, query_file='referit_query_train.json', split=['train', 'val'])
    with pytest.raises(FileNotFoundError, match='Did you mean referit_bbox.json'):
        ReferItDataset(data_root=root, ann_file='referit_box.json')
    with pytest.raises(FileNotFoundError, match='images of referit belong in'):
        ReferItDataset(data_root=root, data_prefix=dict(img_path='images'))


@needs_shared
def test_official_counts():
    official = json.loads((SHARED / 'official_counts.json').read_text())['referit(berkeley)']
    counts = {split: len(ReferItDataset(data_root=str(SHARED / 'referitgame'), split=split)) for split in official}
    assert counts == {split: count['expressions'] for split, count in official.items()}


@needs_shared
def test_real_boxes_end_at_the_images_edges():
    dataset = ReferItDataset(data_root=str(SHARED / 'referitgame'), split='val')
    sizes = json.loads((SHARED / 'referitgame' / 'referit_imsize.json').read_text())
    at_edge = 0
    for index in range(len(dataset)):
        item = dataset.get_data_info(index)
        x1, y1, x2, y2 = item['instances'][0]['bbox']
        assert [item['width'], item['height']] == sizes[f'{item["img_id"]}.jpg']
        assert 0 <= x1 < x2 <= item['width'] and 0 <= y1 < y2 <= item['height']
        at_edge += x2 == item['width']
    # without "+1" none would
    assert at_edge > len(dataset) / 5


@needs_shared
def test_real_image_has_the_size_in_the_file():
    folder = SHARED / 'referitgame'
    sizes = json.loads((folder / 'referit_imsize.json').read_text())
    [path] = (folder / 'images').glob('*.jpg')
    assert list(Image.open(path).size) == sizes[path.name]

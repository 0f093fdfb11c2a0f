"""RefShapes' files: exact masks and boxes, determinism, storage, and the data set that reads them."""

import io
import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.refshapes_reader import digests
from mmengine.logging import MMLogger
from PIL import Image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from mmuniqrnet.datasets.refer import ReferDataset
from mmuniqrnet.datasets.refshapes import RefShapesDataset, make_refshapes
from mmuniqrnet.datasets.text_blind import text_blind_accuracy
from mmuniqrnet.registry import DATASETS

SIZES = dict(train=60, val=40, testA=40, testB=40)
RGB = dict(
    red=(219, 26, 41),
    yellow=(247, 226, 30),
    green=(32, 158, 48),
    blue=(33, 97, 224),
    purple=(149, 50, 178),
    white=(247, 247, 247),
    black=(23, 23, 23),
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('refshapes') / 'data'
    make_refshapes(folder, num_images=SIZES, workers=1)
    return folder


@pytest.fixture(scope='module')
def coco(folder: Path) -> COCO:
    return COCO(str(folder / 'instances.json'))


def test_boxes_are_tight_and_areas_exact(coco):
    for annotation in coco.anns.values():
        image = coco.imgs[annotation['image_id']]
        mask = coco.annToMask(annotation)
        assert mask.shape == (image['height'], image['width'])
        rows, cols = np.nonzero(mask)
        x, y, w, h = annotation['bbox']
        assert (x, y, x + w, y + h) == (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
        assert annotation['area'] == mask.sum()
        assert max(w, h) >= 0.2 * min(mask.shape)
    assert len(coco.anns) == len({ann['id'] for ann in coco.dataset['annotations']})


def test_masks_are_exactly_the_painted_pixels(folder, coco):
    outside_total, outside_alike = 0, 0
    for image in coco.imgs.values():
        pixels = np.asarray(Image.open(folder / 'images' / image['file_name']).convert('RGB')).astype(int)
        found = coco.imgToAnns[image['id']]
        masks = [coco.annToMask(annotation).astype(bool) for annotation in found]
        taken = np.sum(masks, 0)
        assert taken.max() == 1
        for annotation, mask in zip(found, masks):
            middle = np.median(pixels[mask], 0)
            nearest = min(RGB, key=lambda name: np.abs(middle - RGB[name]).sum())
            assert nearest == annotation['attributes']['color']
            assert np.abs(pixels[mask] - middle).max() <= 50
            rim = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))).astype(bool) & (taken == 0)
            outside_total += rim.sum()
            outside_alike += (np.abs(pixels[rim] - middle).max(1) <= 30).sum()
    assert outside_alike / outside_total < 0.01


def test_no_image_occurs_twice(folder):
    images = [digest for name, digest in digests(folder).items() if name.endswith('.png')]
    assert len(images) == sum(SIZES.values()) == len(set(images))


def test_all_orientations_occur(coco):
    sizes = [(image['height'], image['width']) for image in coco.imgs.values()]
    assert all(64 <= max(size) <= 96 for size in sizes)
    assert {np.sign(height - width) for height, width in sizes} == {-1, 0, 1}


def test_every_byte_follows_from_the_seed(folder, tmp_path):
    make_refshapes(tmp_path / 'again', num_images=SIZES, workers=2)
    assert digests(tmp_path / 'again') == digests(folder)
    make_refshapes(tmp_path / 'other', seed=1, num_images=SIZES, workers=2)
    ours, others = digests(folder), digests(tmp_path / 'other')
    assert ours.keys() == others.keys() and not set(ours.values()) & set(others.values())


def test_the_crowded_setting_has_more_objects_and_is_told_from_the_other(tmp_path):
    made = make_refshapes(tmp_path / 'crowded', num_images=dict(train=30, val=10), crowded=True, workers=1)
    dataset = RefShapesDataset(str(tmp_path / 'crowded'), ['train', 'val'], crowded=True)
    objects = Counter(img for img, _ in {(item['img_id'], item['ann_id']) for item in dataset})
    assert set(objects.values()) == {5, 6, 7} and len(objects) == 40
    assert made.info['splits']['val']['text_blind_accuracy'] < 21
    with pytest.raises(FileExistsError, match='made with crowded=True, not False'):
        RefShapesDataset(str(tmp_path / 'crowded'), 'val')
    with pytest.raises(FileExistsError, match='made with crowded=True, not False'):
        make_refshapes(tmp_path / 'crowded', num_images=dict(train=30, val=10))


def test_a_split_does_not_depend_on_the_size_of_another(folder, tmp_path):
    make_refshapes(tmp_path / 'few', num_images=dict(train=3, val=40), workers=1)
    few, ours = digests(tmp_path / 'few'), digests(folder)
    assert sum(name.endswith('.png') for name in few) == 43
    assert all(ours[name] == digest for name, digest in few.items() if name.endswith('.png'))


def test_info_counts_what_is_there(folder):
    info = json.loads((folder / 'info.json').read_text())
    refs = json.loads((folder / 'refs.json').read_text())
    for split, row in info['splits'].items():
        dataset = RefShapesDataset(str(folder), split)
        assert row['images'] == SIZES[split] == len({item['img_id'] for item in dataset})
        assert row['expressions'] == len(dataset) == sum(row['kinds'].values())
        assert row['objects'] == sum(ref['split'] == split for ref in refs)
        # One right answer an image, as all objects are asked for equally often.
        per_object = row['expressions'] / row['objects']
        assert row['text_blind_accuracy'] == pytest.approx(100 * SIZES[split] * per_object / len(dataset), abs=0.01)
        assert row['text_blind_accuracy'] == pytest.approx(text_blind_accuracy(dataset), abs=0.01)
        assert row['text_blind_accuracy'] < 40


# Storage


def test_same_settings_reuse_the_folder_and_others_are_refused(folder, tmp_path):
    copy = tmp_path / 'copy'
    shutil.copytree(folder, copy)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob('*')}
    made = make_refshapes(copy, num_images=SIZES)
    assert not made.created and made.info['seed'] == 0
    with pytest.raises(FileExistsError, match=r'seed 0, not 3: choose another folder, or pass overwrite'):
        make_refshapes(copy, seed=3, num_images=SIZES)
    with pytest.raises(FileExistsError, match=r'60 train, .* not 61 train'):
        make_refshapes(copy, num_images=dict(SIZES, train=61))
    assert before == {path: path.stat().st_mtime_ns for path in copy.rglob('*')}
    assert make_refshapes(copy, seed=3, num_images=dict(val=2), overwrite=True).created
    assert len(list(copy.rglob('*.png'))) == 2
    assert os.listdir(tmp_path) == ['copy']


@pytest.mark.parametrize('overwrite', [False, True])
def test_what_is_not_ours_is_left_alone(folder, tmp_path, overwrite):
    stranger = tmp_path / 'photos'
    stranger.mkdir()
    (stranger / 'cat.jpg').write_bytes(b'cat')
    with pytest.raises(FileExistsError, match='photos holds "cat.jpg", which is no part of RefShapes'):
        make_refshapes(stranger, num_images=dict(val=1), overwrite=overwrite)
    assert (stranger / 'cat.jpg').read_bytes() == b'cat'

    refcoco = tmp_path / 'refcoco'
    refcoco.mkdir()
    (refcoco / 'instances.json').write_text('{}')
    with pytest.raises(FileExistsError, match='refcoco is not empty and has no info.json of RefShapes'):
        make_refshapes(refcoco, num_images=dict(val=1), overwrite=overwrite)
    assert os.listdir(refcoco) == ['instances.json']

    with_notes = tmp_path / 'with_notes'
    shutil.copytree(folder, with_notes)
    (with_notes / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='notes.txt'):
        make_refshapes(with_notes, num_images=dict(val=1), overwrite=overwrite)
    assert (with_notes / 'notes.txt').read_text() == 'mine'


def test_a_folder_that_lost_a_part_is_reported(folder, tmp_path):
    shutil.copytree(folder, tmp_path / 'copy')
    (tmp_path / 'copy' / 'refs.json').unlink()
    with pytest.raises(FileExistsError, match='without its refs.json'):
        make_refshapes(tmp_path / 'copy', num_images=SIZES)


def test_a_killed_run_leaves_no_data_set_behind(tmp_path):
    process = multiprocessing.get_context('fork').Process(
        target=make_refshapes, args=(tmp_path / 'data',), kwargs=dict(num_images=dict(train=5000), workers=1)
    )
    process.start()
    deadline = time.time() + 60
    while not list(tmp_path.rglob('*.png')):
        assert time.time() < deadline and process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / 'data').exists()
    assert make_refshapes(tmp_path / 'data', num_images=dict(val=3)).created


def test_two_runs_at_once_make_one_whole_data_set(folder, tmp_path):
    processes = [
        multiprocessing.get_context('fork').Process(
            target=make_refshapes, args=(tmp_path / 'data',), kwargs=dict(num_images=SIZES, workers=1)
        )
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert os.listdir(tmp_path) == ['data']
    assert digests(tmp_path / 'data') == digests(folder)


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(num_images=dict(test=5)), 'the split "test"; RefShapes has train, val, testA, testB'),
        (dict(num_images=dict(val=-1)), r'num_images\["val"\] must be an integer of at least 0, not -1'),
        (dict(num_images=dict(val=0)), 'no image at all'),
        (dict(seed=-1), 'seed of RefShapes must be an integer of at least 0'),
        (dict(workers=0), 'workers must be a positive integer'),
    ],
)
def test_impossible_settings(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        make_refshapes(tmp_path / 'data', **settings)
    assert not os.listdir(tmp_path)


# The data set


def test_it_is_registered_and_makes_its_data_saying_so(tmp_path):
    logger, log = MMLogger.get_current_instance(), io.StringIO()
    handler = logging.StreamHandler(log)
    logger.addHandler(handler)
    dataset = DATASETS.build(
        dict(type='RefShapesDataset', data_root=str(tmp_path / 'data'), split='val', num_images=dict(val=4), seed=5)
    )
    logger.removeHandler(handler)
    message = rf'4 images with {len(dataset)} expressions made in {tmp_path}/data, in \d+\.\d s'
    assert re.search(message, log.getvalue())
    assert len(list((tmp_path / 'data').rglob('*.png'))) == 4
    assert {item['img_id'] for item in dataset} == {1, 2, 3, 4}
    again = RefShapesDataset(str(tmp_path / 'data'), 'val', generate=False, seed=5)
    assert len(again) == len(dataset)


def test_lazy_init_makes_nothing_yet(tmp_path):
    dataset = RefShapesDataset(str(tmp_path / 'data'), 'val', num_images=dict(val=2), lazy_init=True)
    assert not (tmp_path / 'data').exists()
    dataset.full_init()
    assert len(dataset) > 0


def test_absent_or_other_data_is_one_sentence(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'make it there with "python tools/dataset_tools/make_refshapes.py'):
        RefShapesDataset(str(tmp_path / 'none'), generate=False)
    with pytest.raises(FileExistsError, match='made with seed 0, not 9'):
        RefShapesDataset(str(folder), seed=9)
    with pytest.raises(FileExistsError, match='60 train, .* not 0 train, 5 val'):
        RefShapesDataset(str(folder), num_images=dict(val=5))
    with pytest.raises(ValueError, match="no split 'test'"):
        RefShapesDataset(str(folder), 'test')


def test_items_are_what_the_files_say(folder, coco):
    dataset = RefShapesDataset(str(folder), 'testB')
    expected = [
        (sentence['sent_id'], sentence['raw'], ref['ann_id'])
        for ref in json.loads((folder / 'refs.json').read_text())
        if ref['split'] == 'testB'
        for sentence in ref['sentences']
    ]
    assert [(item['sent_id'], item['text'], item['ann_id']) for item in dataset] == expected
    for item in dataset:
        annotation, (instance,) = coco.anns[item['ann_id']], item['instances']
        x, y, w, h = annotation['bbox']
        assert instance['bbox'] == [x, y, x + w, y + h]
        assert np.array_equal(mask_utils.decode(instance['mask']), coco.annToMask(annotation))
        assert (item['dataset'], item['split']) == ('refshapes', 'testB')
    assert Image.open(item['img_path']).size == (item['width'], item['height'])


def test_the_plain_refer_dataset_reads_it_too(folder):
    plain = ReferDataset('instances.json', 'refs.json', str(folder), dict(img_path='images'), 'val', 'refshapes')
    ours = RefShapesDataset(str(folder), 'val')
    assert len(plain) == len(ours) and all(a == b for a, b in zip(plain, ours))

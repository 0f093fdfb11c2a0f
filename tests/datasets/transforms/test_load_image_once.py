import json

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image
from torch.utils.data import DataLoader

from mmuniqrnet.datasets import ReferJsonlDataset
from mmuniqrnet.datasets.transforms import LoadImageOnce
from mmuniqrnet.registry import TRANSFORMS

IMAGES = 4


def save(folder, seed):
    """Images of random pixels, in a format without loss."""
    generator = np.random.default_rng(seed)
    for i in range(IMAGES):
        Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(folder / f'{i}.png')


@pytest.fixture
def folder(tmp_path):
    save(tmp_path, 0)
    lines = [
        dict(
            image=f'{i}.png', expressions=['left thing', 'thing'], bbox=[i, 0, i + 5, 6], mask=[[i, 0, i + 5, 0, i, 6]]
        )
        for i in range(IMAGES)
    ]
    (tmp_path / 'own.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return tmp_path


def dataset_of(folder, **load):
    pipeline = [
        dict(color_type='color_ignore_orientation', **load),
        dict(type='mmuniqrnet.LoadReferAnnotations'),
        dict(type='mmuniqrnet.ReferResize', scale=(12, 12), keep_ratio=True),
        dict(type='mmuniqrnet.RandomFlipWithText', prob=0.5),
        dict(type='mmuniqrnet.PackReferInputs'),
    ]
    ann_file, prefix = str(folder / 'own.jsonl'), dict(img_path=str(folder))
    return ReferJsonlDataset(ann_file=ann_file, data_prefix=prefix, pipeline=pipeline)


def passes(dataset, workers=0):
    """The images, texts and boxes of two passes over the items."""
    found = []
    loader = DataLoader(dataset, batch_size=3, num_workers=workers, collate_fn=pseudo_collate)
    for _ in range(2):
        for batch in loader:
            for image, sample in zip(batch['inputs'], batch['data_samples']):
                found.append((image, sample.text, sample.ori_shape, sample.gt_instances.bboxes.tensor))
    return found


def same(a, b):
    return torch.equal(a[0], b[0]) and a[1:3] == b[1:3] and torch.equal(a[3], b[3])


@pytest.mark.parametrize('keep', [1, 2, 100])
def test_the_data_set_gives_the_same_items(folder, keep):
    np.random.seed(0)
    expected = passes(dataset_of(folder, type='LoadImageFromFile'))
    np.random.seed(0)
    found = passes(dataset_of(folder, type='mmuniqrnet.LoadImageOnce', keep=keep))
    assert len(found) == 4 * IMAGES and all(map(same, expected, found))
    assert {sample[1] for sample in found} == {'left thing', 'right thing', 'thing'}  # some are flipped


def test_workers_give_the_same_pixels(folder):
    dataset = dataset_of(folder, type='mmuniqrnet.LoadImageOnce', keep=100)
    dataset.pipeline.transforms.pop(3)  # the flip, whose random numbers differ in workers
    assert all(map(same, passes(dataset), passes(dataset, workers=2)))


def load(folder, transform, i):
    return transform(dict(img_path=str(folder / f'{i}.png')))['img']


@pytest.mark.parametrize('keep', [1, 2, 3])
def test_the_images_used_last_are_kept_and_no_others(folder, keep):
    transform = TRANSFORMS.build(dict(type='mmuniqrnet.LoadImageOnce', keep=keep))
    before = [load(folder, transform, i).copy() for i in (0, 1, 2, 3, 1, 0)]
    save(folder, 1)
    # Used last: 0, 1, 3. What is kept has the pixels of before.
    last = {0: before[0], 1: before[1], 3: before[3]}
    kept = [i for i in last if np.array_equal(load(folder, transform, i), last[i])]
    assert kept == [0, 1, 3][:keep]
    assert len(transform._images) == keep


def test_changes_of_an_item_do_not_reach_the_next(folder):
    transform = LoadImageOnce(keep=2)
    first = load(folder, transform, 0)
    expected = first.copy()
    first[:] = 0
    assert np.array_equal(load(folder, transform, 0), expected)


def test_none_to_keep_is_refused():
    with pytest.raises(ValueError, match='keep is the number of images to keep, 1 or more, not 0'):
        LoadImageOnce(keep=0)

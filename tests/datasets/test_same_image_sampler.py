import json
from itertools import groupby, pairwise

import mmcv
import numpy as np
import pytest
from mmengine.dataset import Compose, ConcatDataset, RepeatDataset, pseudo_collate
from PIL import Image
from torch.utils.data import DataLoader

from mmuniqrnet.datasets import ReferJsonlDataset, SameImageSampler, text_blind_by_set
from mmuniqrnet.datasets.base import annotation_of
from mmuniqrnet.engine.loops.batches import SeededBatchSampler
from mmuniqrnet.registry import DATA_SAMPLERS
from mmuniqrnet.structures.shared_images import find_same_images
from mmuniqrnet.utils.errors import UserError

COUNTS = [1, 7, 4, 2, 5, 3]


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """Six images with these numbers of expressions, each image in two lines that do not follow each other."""
    folder = tmp_path_factory.mktemp('own')
    lines = []
    for half in (0, 1):
        for image, count in enumerate(COUNTS):
            texts = [f'{image} {n}' for n in range(count) if n % 2 == half]
            if texts:
                lines.append(dict(image=f'{image}.png', expressions=texts, bbox=[0, 0, 4, 4]))
    for image in range(len(COUNTS)):
        Image.fromarray(np.full((6, 8, 3), image * 20, np.uint8)).save(folder / f'{image}.png')
    (folder / 'own.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return ReferJsonlDataset(ann_file=str(folder / 'own.jsonl'), data_prefix=dict(img_path=str(folder)))


def image_of(dataset, index):
    return int(dataset.get_data_info(index)['text'].split()[0])


@pytest.mark.parametrize('group_size', [1, 2, 3, 100])
def test_every_expression_once_and_images_in_groups(dataset, group_size):
    sampler = DATA_SAMPLERS.build(dict(type='SameImageSampler', dataset=dataset, group_size=group_size, seed=4))
    order = list(sampler)
    assert sorted(order) == list(range(len(dataset))) and len(sampler) == len(order)
    images = [image_of(dataset, index) for index in order]
    decoded = 1 + sum(a != b for a, b in pairwise(images))
    # neighbouring groups of one image need even less
    groups = sum(-(-count // group_size) for count in COUNTS)
    assert decoded <= groups and (group_size < 100 or decoded == len(COUNTS))


def test_epochs_and_seeds_differ_and_repeat(dataset):
    sampler, again = (SameImageSampler(dataset, group_size=2, seed=1) for _ in range(2))
    first = list(sampler)
    assert first == list(again) != list(SameImageSampler(dataset, group_size=2, seed=2))
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    # an image's expressions are grouped anew, not only moved
    partners = [{frozenset(order[i : i + 2]) for i in range(len(order) - 1)} for order in (first, second)]
    of_two = [{pair for pair in pairs if len({image_of(dataset, i) for i in pair}) == 1} for pairs in partners]
    assert of_two[0] != of_two[1]


@pytest.mark.parametrize('round_up', [True, False])
def test_ranks_share_the_order_in_consecutive_parts(dataset, round_up, monkeypatch):
    parts = []
    for rank in range(4):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 4))
        sampler = SameImageSampler(dataset, group_size=3, seed=0, round_up=round_up)
        parts.append(list(sampler))
        assert len(parts[-1]) == len(sampler)
    joined = [index for part in parts for index in part]
    assert set(joined) == set(range(len(dataset))) and joined[: len(dataset)] == sampler.order()
    assert len(joined) == (24 if round_up else 22)


@pytest.mark.parametrize(
    'wrap', [lambda one: one, lambda one: ConcatDataset([one, one]), lambda one: RepeatDataset(one, 2)]
)
def test_masks_in_files_are_not_read(wrap, tmp_path):
    for name in ('a', 'b'):
        Image.new('RGB', (8, 6)).save(tmp_path / f'{name}.png')
        Image.new('L', (8, 6), 255).save(tmp_path / f'{name}_mask.png')
    lines = [
        dict(image=f'{name}.png', expressions=[name, f'the {name}'], bbox=[0, 0, 8, 6], mask=f'{name}_mask.png')
        for name in 'aba'
    ]
    (tmp_path / 'own.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    dataset = wrap(ReferJsonlDataset(ann_file=str(tmp_path / 'own.jsonl'), data_prefix=dict(img_path=str(tmp_path))))
    expected = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
    for mask in tmp_path.glob('*_mask.png'):
        mask.unlink()
    with pytest.raises(UserError, match='_mask.png does not exist'):
        dataset.get_data_info(0)
    order = list(SameImageSampler(dataset, group_size=100, shuffle=False))
    assert [expected[index] for index in order] == sorted(expected)
    assert [annotation_of(dataset, index)['img_path'] for index in range(len(dataset))] == expected
    assert text_blind_by_set(dataset) == {'custom/train': pytest.approx(100)}


def test_any_data_set_with_images_will_do():
    class Items(list):
        def get_data_info(self, index):
            return self[index]

    items = Items(dict(img_path=path) for path in 'abab')
    assert list(SameImageSampler(items, group_size=2, shuffle=False)) == [0, 2, 1, 3]


def test_in_order_without_shuffling(dataset):
    order = list(SameImageSampler(dataset, group_size=2, shuffle=False))
    images = [image_of(dataset, index) for index in order]
    assert sorted(order) == list(range(len(dataset))) and images == sorted(images)


def test_group_size_is_checked(dataset):
    with pytest.raises(ValueError, match='group_size must be at least 1, not 0'):
        SameImageSampler(dataset, group_size=0)


def test_an_image_is_decoded_once_in_a_row_and_is_never_anothers(dataset, monkeypatch):
    decoded, imfrombytes = [], mmcv.imfrombytes
    monkeypatch.setattr(mmcv, 'imfrombytes', lambda *a, **k: decoded.append(1) or imfrombytes(*a, **k))
    load, plain = (
        Compose([dict(type=name, color_type='color_ignore_orientation')])
        for name in ('mmuniqrnet.LoadImageOnce', 'LoadImageFromFile')
    )
    order = list(SameImageSampler(dataset, group_size=100, seed=0))
    for index in order:
        info = dataset.get_data_info(index)
        found = load(dict(info))
        assert (found['img'] == image_of(dataset, index) * 20).all()
        assert found['img_shape'] == found['ori_shape'] == (6, 8)
        found['img'][:] = 255  # what a later transform does to it is not seen by the next expression
    assert len(decoded) == len(COUNTS)
    first = dataset.get_data_info(0)
    assert (plain(dict(first))['img'] == load(dict(first))['img']).all()


def test_workers_decode_a_group_once_and_give_it_one_view(dataset, tmp_path, monkeypatch):
    """A group that two batches share is decoded by two workers; all others once."""
    decoded, imfrombytes = tmp_path / 'decoded', mmcv.imfrombytes

    def noting(*args, **kwargs):
        with decoded.open('ab') as file:
            file.write(b'.')
        return imfrombytes(*args, **kwargs)

    monkeypatch.setattr(mmcv, 'imfrombytes', noting)
    steps = [
        dict(type='mmuniqrnet.LoadImageOnce'),
        dict(type='RandomResize', scale=[(8, 8), (400, 400)], resize_type='mmuniqrnet.ReferResize', keep_ratio=True),
        dict(type='mmuniqrnet.PackReferInputs'),
    ]
    monkeypatch.setattr(dataset, 'pipeline', Compose(steps))
    batches = SeededBatchSampler(SameImageSampler(dataset, group_size=4, seed=0, one_view=True), batch_size=8)
    images = [image_of(dataset, index) for index in batches.sampler.order()]
    parts = [images[i : i + 8] for i in range(0, len(images), 8)]
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=2, collate_fn=pseudo_collate)
    for batch, part in zip(loader, parts, strict=True):
        assert max(find_same_images(batch['inputs'], batch['data_samples'])) + 1 == len(set(part))
    assert len(decoded.read_bytes()) <= sum(len(list(groupby(part))) for part in parts) < len(dataset)


def test_samples_of_an_image_draw_the_numbers_of_its_first_in_the_batch(dataset):
    sampler = SameImageSampler(dataset, group_size=2, seed=3, one_view=True)
    batches = SeededBatchSampler(sampler, batch_size=8)
    batches.seed = 5

    def numbers(epoch, batch):
        """The image and a random number of each sample of a batch, from the start of an epoch or from this batch on."""
        batches.start_at(epoch, batch)
        return [(image_of(dataset, index), np.random.rand()) for index in next(iter(batches))]

    drawn = [pair for batch in range(3) for pair in set(numbers(0, batch))]
    assert len({number for _, number in drawn}) == len(drawn) < len(dataset)  # one number an image, in no two batches
    assert numbers(0, 1) == numbers(0, 1) and not {n for _, n in numbers(1, 0)} & {n for _, n in numbers(0, 0)}
    sampler.one_view = False
    assert len({number for _, number in numbers(0, 0)}) == 8
    assert sampler.drawn_as([3, 2]) == [0, 1]

"""tools/photos.py before its first step, and what it takes from an earlier start; its steps have tests of their own."""

import argparse
import json
import os

import pytest
from helpers.tools import load_tool

from mmuniqrnet.config import add_cfg_options, load_config
from mmuniqrnet.utils.errors import UserError

photos = load_tool('photos')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with annotations of two images each and a folder of images."""
    monkeypatch.chdir(tmp_path)
    for name, ids in (('train', (1, 2)), ('val', (3, 4))):
        images = [dict(id=i, file_name=f'{i}.jpg', width=40, height=30) for i in ids]
        annotations = [dict(id=i, image_id=i, category_id=1, bbox=[1, 1, 20, 20]) for i in ids]
        content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='dog')])
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    for name in ('images', 'others'):
        (tmp_path / name).mkdir()
    return tmp_path


def start(*options):
    """What happens before the first step."""
    images = () if '--images' in options else ('--images', 'images')
    args = photos.parse_args(['train.json', 'val.json', *images, *options])
    photos.check_arguments(args)
    photos.keep_settings(args, args.data_dir / 'photos')


@pytest.mark.parametrize(
    'words, reason',
    [
        (['--seed', '1'], 'data/photos was made with --seed 0, not 1: continue with the same, or give another --data'),
        (['--images', 'others'], 'was made with --images .*images, not .*others'),
        (['--mosaics', '7'], 'was made with --mosaics 1500, not 7'),
        (['--per-object', '2'], 'was made with --per-object 8, not 2'),
        (['--data-dir', 'new', '--seed', '1'], 'work_dirs/photos was made with --seed 0, not 1: .* another --work-dir'),
        (['--batch-size', '64'], 'was made with --batch-size none, not 64'),
        (['--cfg-options', 'train_cfg.max_iters=3'], r'was made with --cfg-options none, not train_cfg\.max_iters=3'),
    ],
)
def test_a_later_start_has_the_same_options(folder, words, reason):
    start()
    start('--images', os.path.join('others', '..', 'images'))
    with pytest.raises(UserError, match=reason):
        start(*words)
    (folder / 'train.json').write_text((folder / 'train.json').read_text() + '\n')
    with pytest.raises(UserError, match='was made with another TRAIN.json'):
        start()
    start('--data-dir', 'other', '--work-dir', 'other')


def test_what_others_made_is_not_continued(folder):
    (folder / 'data' / 'photos').mkdir(parents=True)
    (folder / 'data' / 'photos' / 'train.jsonl').write_text('mine')
    with pytest.raises(UserError, match='photos/train.jsonl is there, and nothing says what it was made from'):
        start()
    (folder / 'run').mkdir()
    (folder / 'run' / 'last_checkpoint').write_text('mine')
    with pytest.raises(UserError, match='run/last_checkpoint is there, and nothing says what it was made from'):
        start('--data-dir', 'new', '--work-dir', 'run')


@pytest.mark.parametrize(
    'words, reason',
    [
        (['gone.json', 'val.json'], 'there is no file gone.json'),
        (['train.json', 'images'], 'there is no file images'),
        (['train.json', 'val.json', '--images', 'gone'], '--images gone: there is no such folder'),
        (['train.json', 'val.json', '--seed', '-1'], '--seed -1: it must be 0 or more'),
        (['train.json', 'val.json', '--data-dir', 'a,b'], '--data-dir a,b: give a folder without'),
        (['train.json', 'train.json'], r'2 image\(s\) in common, such as 1.jpg'),
        (['train.json', 'val.json', '--cfg-options', 'train_cfg.max_iter=3'], 'max_iter'),
        (
            ['train.json', 'val.json', '--batch-size', '8', '--cfg-options', 'train_dataloader.batch_size=9'],
            'give either --batch-size or train_dataloader.batch_size',
        ),
    ],
)
def test_faulty_arguments_end_before_the_first_step(folder, words, reason):
    given = words if '--images' in words else [*words, '--images', 'images']
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match=reason):
        photos.main(given)
    assert sorted(folder.iterdir()) == before


def test_an_empty_folder_is_made_and_a_full_one_is_kept(folder):
    made = []
    for name in ('gone', 'images', 'train.json'):
        photos.once(folder / name, lambda name=name: made.append(name))
    (folder / 'others' / 'x').write_text('')
    photos.once(folder / 'others', lambda: made.append('others'))
    assert made == ['gone', 'images']


def test_checkpoints_are_found_after_the_folder_was_moved(folder):
    with pytest.raises(UserError, match='last_checkpoint is missing: delete .*images to train it again'):
        photos.last_checkpoint(folder / 'images')
    with pytest.raises(UserError, match='no best_.*because no validation ran'):
        photos.best_checkpoint(folder / 'images')
    (folder / 'images' / 'last_checkpoint').write_text('/before/iter_8.pth')
    (folder / 'images' / 'iter_8.pth').write_text('')
    for seconds, name in ((9, 'best_a.pth'), (5, 'best_b.pth')):
        (folder / 'images' / name).write_text('')
        os.utime(folder / 'images' / name, (seconds, seconds))
    assert photos.last_checkpoint(folder / 'images').name == 'iter_8.pth'
    assert photos.best_checkpoint(folder / 'images').name == 'best_a.pth'


@pytest.mark.parametrize('size', [1, 32, 256, 10**6])
@pytest.mark.parametrize('config', [photos.NAMES, photos.EXPRESSIONS, photos.LARGER])
def test_another_batch_sees_as_many_expressions(config, size):
    plain = load_config(str(config))
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    options = parser.parse_args(['--cfg-options', *photos.batch_options(config, size)]).cfg_options
    cfg = load_config(str(config), options)
    steps, before = cfg.train_cfg.max_iters, plain.train_cfg.max_iters
    warm_up, cosine = cfg.param_scheduler
    assert cfg.train_dataloader.batch_size == size
    if size < 10**6:
        assert steps * size == pytest.approx(before * 32, abs=size / 2)
    assert 0 < warm_up.end == cosine.begin < cosine.end == steps == cosine.begin + cosine.T_max
    assert 0 < cfg.train_cfg.val_interval <= steps
    factor = (size / 32) ** 0.5
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(plain.optim_wrapper.optimizer.lr * factor, 1e-4)
    assert cosine.eta_min == pytest.approx(plain.param_scheduler[1].eta_min * factor, 1e-4)
    if size == 32:
        assert cfg.to_dict() == plain.to_dict()
    assert photos.batch_options(config, None) == []

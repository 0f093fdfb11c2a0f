"""What would stop a training at its first validation is refused at its start, by real training runs."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.main_job import CONFIG, options, train
from PIL import Image

from mmuniqrnet.datasets import ReferJsonlDataset
from mmuniqrnet.datasets.refshapes import make_refshapes
from mmuniqrnet.engine.hooks.validation_check import kinds_of_sets
from mmuniqrnet.utils.errors import UserError


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('checked') / 'refshapes'
    make_refshapes(str(root), num_images=dict(train=4, val=2, testA=1, testB=1), workers=1)
    return root


@pytest.fixture(scope='module')
def boxes(tmp_path_factory) -> Path:
    """Own data, with boxes only."""
    folder = tmp_path_factory.mktemp('boxes')
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / 'a.png')
    lines = [
        dict(image='a.png', expressions=['left cup', 'mug'], bbox=[5, 5, 30, 30]),
        dict(image='a.png', expressions='right cup', bbox=[35, 5, 60, 30]),
    ]
    (folder / 'own.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    return folder


def start(data: Path, work_dir: Path, *more: str) -> None:
    train.main([CONFIG, '--work-dir', str(work_dir), '--cfg-options', *options(data, work_dir.name, 2), *more])


def own_config(data: Path, boxes: Path, save_best: str) -> str:
    """The nano config, validated on data with boxes only."""
    dataset = dict(ann_file='own.jsonl', data_root=str(boxes), data_prefix=dict(img_path='.'), dataset_name='own')
    dataset |= dict(_delete_=True, type='ReferJsonlDataset', split='val', test_mode=True)
    path = boxes / 'config.py'
    path.write_text(
        f'_base_ = {CONFIG!r}\n'
        f'dataset = {dataset}\n'
        'val_dataloader = dict(dataset=dict(**dataset, pipeline={{_base_.test_pipeline}}))\n'
        f'default_hooks = dict(checkpoint=dict(save_best={save_best!r}))\n'
    )
    return str(path)


@pytest.mark.parametrize(
    'option, sentence',
    [
        ('default_hooks.checkpoint.save_best=refshapes/val/mIuO', r'the nearest is refshapes/val/mIoU'),
        ('default_hooks.checkpoint.save_best=refshapes/testA/mIoU', r'will not be among the metrics of the validation'),
        ('default_hooks.checkpoint.save_best=auto', r'would take refshapes/val/N, the first metric there is'),
        ('default_hooks.checkpoint.save_best=refshapes/val/T-acc', r'T-acc.* will not be among'),
        ('default_hooks.checkpoint.save_best=mean/mIoU', r"'mean/mIoU' will not be among"),
        (
            'val_evaluator.mean_over_sets=True default_hooks.checkpoint.save_best=mean/mIuO',
            r'the nearest is mean/mIoU',
        ),
        ('val_evaluator.protocol=cris', r"set model.head.test_cfg.extra_masks=\['mask_probs'\]"),
        (
            'default_hooks.stop.type=EarlyStoppingHook default_hooks.stop.monitor=acc default_hooks.stop.rule=greater',
            r"monitor of the EarlyStoppingHook='acc' will not be among",
        ),
    ],
)
def test_a_metric_that_will_not_be_there_is_refused_before_the_first_step(option, sentence, data, tmp_path):
    with pytest.raises(UserError, match=sentence):
        start(data, tmp_path / 'run', *option.split())
    assert not list((tmp_path / 'run').glob('*.pth'))


def small(data: Path, work_dir: Path) -> list[str]:
    return [option for option in options(data, work_dir.name, 2) if not option.startswith('val_dataloader.dataset')]


def test_masks_are_not_expected_of_boxes(data, boxes, tmp_path):
    config = own_config(data, boxes, 'own/val/mIoU')
    with pytest.raises(UserError, match='own/val/mIoU.* will not be among .* they are own/val/N, own/val/N_box'):
        train.main([config, '--work-dir', str(tmp_path / 'run'), '--cfg-options', *small(data, tmp_path / 'run')])


def test_what_is_there_is_accepted_and_saved(data, boxes, tmp_path):
    config = own_config(data, boxes, 'own/val/Acc@0.5')
    train.main([config, '--work-dir', str(tmp_path / 'run'), '--cfg-options', *small(data, tmp_path / 'run')])
    assert len(list((tmp_path / 'run').glob('best_own_val_Acc@0.5*.pth'))) == 1


def own_dataset(boxes: Path, **changes) -> ReferJsonlDataset:
    return ReferJsonlDataset(
        **dict(ann_file=f'{boxes}/own.jsonl', data_prefix=dict(img_path=str(boxes)), dataset_name='own', split='val')
        | changes
    )


def test_one_sentence_id_for_two_expressions_is_refused(boxes, tmp_path):
    other = tmp_path / 'other.jsonl'
    other.write_text(json.dumps(dict(image='a.png', expressions='spoon', bbox=[5, 5, 30, 30])))
    first, second = own_dataset(boxes), own_dataset(boxes, ann_file=str(other))
    with pytest.raises(UserError, match=r"other.jsonl: two expressions of own/val .* 'left cup' .* 'spoon'"):
        kinds_of_sets([first, second])
    assert set(kinds_of_sets([first, own_dataset(boxes, ann_file=str(other), dataset_name='other')])) == {
        'own/val',
        'other/val',
    }


def test_ten_thousand_expressions_take_a_moment(boxes, tmp_path):
    many = tmp_path / 'many.jsonl'
    line = dict(image='a.png', bbox=[5, 5, 30, 30], mask=[[5, 5, 30, 5, 30, 30, 5, 30] * 5])
    many.write_text('\n'.join(json.dumps(dict(line, expressions=f'cup {number}')) for number in range(10_834)))
    dataset = own_dataset(boxes, ann_file=str(many))
    before = time.process_time()
    assert len(next(iter(kinds_of_sets([dataset]).values()))) == 1
    assert time.process_time() - before < 5

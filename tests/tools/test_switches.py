"""Gradient accumulation, gradient checkpointing and EMA, each switched on by one option of tools/train.py."""

from pathlib import Path

import pytest
import torch
from helpers.main_job import CONFIG, options, train
from mmengine.registry import DefaultScope

from mmuniqrnet.engine import gpu_has_bfloat16
from mmuniqrnet.utils.errors import UserError

ITERS = 4


def run(data: Path, work_dir: Path, *switches: str, arguments: tuple[str, ...] = ()) -> list[dict]:
    """The checkpoints after every iteration of a short training, with these options on top."""
    train.main(
        [
            CONFIG,
            '--work-dir',
            str(work_dir),
            *arguments,
            '--cfg-options',
            *options(data, work_dir.name, ITERS),
            'train_cfg.val_interval=99',
            'default_hooks.checkpoint.interval=1',
            # One of a name lives as long as the process.
            f'visualizer.name={work_dir.name}',
            *switches,
        ]
    )
    DefaultScope._instance_dict.clear()
    return [torch.load(work_dir / f'iter_{i}.pth', weights_only=False) for i in range(1, ITERS + 1)]


@pytest.fixture(scope='module')
def plain(data, tmp_path_factory) -> list[dict]:
    return [saved['state_dict'] for saved in run(data, tmp_path_factory.mktemp('runs') / 'plain')]


def differing(first: dict, second: dict, tolerance: float = 0.0) -> list[str]:
    return [key for key, value in first.items() if not torch.allclose(value, second[key], rtol=0, atol=tolerance)]


def test_accumulation_steps_at_every_second_batch(data, plain, tmp_path):
    first, second, third, fourth = (
        saved['state_dict'] for saved in run(data, tmp_path / 'accumulation', 'optim_wrapper.accumulative_counts=2')
    )
    assert len(differing(plain[0], plain[1])) > 100
    assert len(differing(first, second)) > 100 and len(differing(third, fourth)) > 100
    assert differing(second, third) == []


def test_with_cp_trains_the_same_weights(data, plain, tmp_path):
    saved = run(data, tmp_path / 'with_cp', 'model.backbone.with_cp=True')
    assert differing(plain[-1], saved[-1]['state_dict'], tolerance=1e-5) == []


def test_ema_saves_the_average_and_trains_on_the_weights(data, plain, tmp_path):
    saved = run(data, tmp_path / 'ema', 'default_hooks.ema.type=EMAHook', 'default_hooks.ema.momentum=0.5')
    average = {key: value for key, value in plain[0].items() if value.is_floating_point()}
    for weights in plain[1:]:
        average = {key: (value + weights[key]) / 2 for key, value in average.items()}
    assert differing(average, saved[-1]['state_dict'], 1e-6) == []
    assert len(differing(plain[-1], saved[-1]['state_dict'], 1e-6)) > 100
    trained = {key.removeprefix('module.'): value for key, value in saved[-1]['ema_state_dict'].items()}
    assert differing(plain[-1], trained) == []


def test_scaled_learning_rate_counts_accumulated_batches(data, tmp_path):
    """Batches of 4, two a step, where the rate is for 32: a quarter of it."""
    first = run(data, tmp_path / 'scaled', 'optim_wrapper.accumulative_counts=2', arguments=('--auto-scale-lr',))[-1]
    assert first['optimizer']['param_groups'][0]['initial_lr'] == pytest.approx(1e-3 / 4)


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without GPU')
def test_amp_without_a_gpu_is_refused_in_one_sentence(data, tmp_path):
    with pytest.raises(UserError, match='--amp needs a GPU'):
        run(data, tmp_path / 'amp', arguments=('--amp', '--amp-dtype', 'bf16'))


def test_a_type_without_amp_is_refused(data, tmp_path):
    with pytest.raises(UserError, match='--amp-dtype fp16 is the type of --amp: add --amp'):
        run(data, tmp_path / 'amp', arguments=('--amp-dtype', 'fp16'))


@pytest.mark.skipif(not gpu_has_bfloat16(), reason='needs a GPU with bfloat16')
@pytest.mark.parametrize('dtype', [None, 'bf16', 'fp16'])
def test_amp_trains_in_the_type_asked_for(dtype, data, tmp_path):
    arguments = ('--amp',) if dtype is None else ('--amp', '--amp-dtype', dtype)
    saved = run(data, tmp_path / 'amp', arguments=arguments)
    assert ('loss_scaler' in saved[-1]['optimizer']) == (dtype == 'fp16')
    assert all(value.isfinite().all() for value in saved[-1]['state_dict'].values())


def test_a_best_metric_of_unknown_rule_is_refused_in_one_sentence(data, tmp_path):
    with pytest.raises(UserError, match='save_best=.refshapes/val/oIoU.*cannot tell whether more or less'):
        run(
            data,
            tmp_path / 'rule',
            'default_hooks.checkpoint.save_best=refshapes/val/oIoU',
            'default_hooks.checkpoint.rule=None',
        )

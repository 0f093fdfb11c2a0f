"""Hooks, visualizers and base configs of mmengine, mmdet and mmseg in a training of UniQRNet."""

from pathlib import Path

import pytest
from helpers.paths import NANO_CONFIG, ROOT
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from mmengine.hooks import ProfilerHook
from mmengine.runner import CheckpointLoader, Runner

pytestmark = [
    pytest.mark.filterwarnings('ignore:Failed to search registry'),
    pytest.mark.filterwarnings('ignore:Default ``avg_non_ignore``'),
]
DET_LOCAL = dict(type='mmdet.DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='det_local')
WORK = [
    dict(type='SyncBuffersHook'),
    dict(type='EMAHook', ema_type='mmdet.ExpMomentumEMA'),
    dict(type='EmptyCacheHook', after_iter=True),
    dict(type='NaiveVisualizationHook'),
    dict(type='ProfilerHook', by_epoch=False, profile_times=1),
    dict(type='mmdet.CheckInvalidLossHook', interval=1),
    dict(type='mmdet.NumClassCheckHook'),
    dict(type='mmdet.SyncNormHook'),
]


@pytest.fixture(autouse=True)
def no_visualizer():
    yield
    DetLocalVisualizer._instance_dict.clear()


def small(cfg: Config, data: Path, work_dir: Path, iters: int = 2) -> Config:
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.update(max_iters=iters, val_interval=1)
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].dataset.data_root = str(data)
    cfg.train_dataloader.batch_size = 2
    return cfg


def test_one_training_with_the_hooks_of_the_libraries(few_shapes, tmp_path):
    cfg = small(Config.fromfile(NANO_CONFIG), few_shapes, tmp_path)
    cfg.custom_hooks.extend(WORK)
    runner = Runner.from_cfg(cfg)
    (profiler,) = [hook for hook in runner.hooks if isinstance(hook, ProfilerHook)]
    runner.train()
    assert runner.iter == 2 and profiler.profiler.key_averages()
    last = (tmp_path / 'last_checkpoint').read_text()
    assert 'ema_state_dict' in CheckpointLoader.load_checkpoint(last)


def test_early_stopping(few_shapes, tmp_path):
    cfg = small(Config.fromfile(NANO_CONFIG), few_shapes, tmp_path, iters=6)
    # No improvement of 200 points is possible, so that the second validation without one ends the training.
    stop = dict(type='EarlyStoppingHook', monitor='refshapes/val/mIoU', patience=1, min_delta=200.0, rule='greater')
    cfg.custom_hooks.append(stop)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter < 6


@pytest.mark.parametrize('hook', ['mmdet.DetVisualizationHook', 'ReferringVisualizationHook'])
def test_visualizer_of_mmdet(hook, few_shapes, tmp_path):
    cfg = small(Config.fromfile(NANO_CONFIG), few_shapes, tmp_path)
    cfg.visualizer = DET_LOCAL
    cfg.default_hooks.visualization = dict(type=hook, draw=True)
    if hook.startswith('mmdet.'):
        cfg.default_hooks.visualization.interval = 1
    runner = Runner.from_cfg(cfg)
    assert type(runner.visualizer) is DetLocalVisualizer
    runner.test()
    assert len(list(Path(runner.log_dir).rglob('vis_image/*.png'))) > 3


def test_runtime_of_mmdet_as_base_config(few_shapes, tmp_path):
    bases = [f'{ROOT}/configs/_base_/{name}' for name in ('models/uniqrnet_swin-nano.py', 'datasets/refshapes.py')]
    bases += [f'{ROOT}/configs/_base_/schedules/5k-iters.py', 'mmdet::_base_/default_runtime.py']
    changes = (
        "default_scope = 'mmuniqrnet'\n"
        'default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False))\n'
        'log_processor = dict(by_epoch=False)\n'
    )
    cfg = small(Config.fromstring(f'_base_ = {bases}\n{changes}', '.py'), few_shapes, tmp_path)
    assert cfg.default_hooks.visualization.type == 'DetVisualizationHook'
    cfg.default_hooks.visualization.type = 'mmdet.DetVisualizationHook'
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2

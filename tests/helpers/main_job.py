"""The main job in small: options of tools/train.py and tools/test.py for a training of a few steps."""

from pathlib import Path

from .paths import NANO_CONFIG
from .tools import load_tool

CONFIG = str(NANO_CONFIG)
train, test = load_tool('train'), load_tool('test')


def options(data: Path, name: str, max_iters: int) -> list[str]:
    """Small, and with nothing drawn at random but the first weights and the order of the data."""
    return [
        f'experiment_name={name}',
        'randomness.seed=3',
        f'train_cfg.max_iters={max_iters}',
        'train_cfg.val_interval=2',
        'default_hooks.checkpoint.interval=2',
        'default_hooks.checkpoint.max_keep_ckpts=9',
        'model.data_preprocessor.placement=corner',
        'train_dataloader.dataset.pipeline.1.prob=0.0',
        'train_dataloader.batch_size=4',
        'param_scheduler.0.end=2',
        'param_scheduler.1.begin=2',
        'param_scheduler.1.end=8',
        'param_scheduler.1.T_max=6',
    ] + [
        f'{part}_dataloader.{key}'
        for part in ('train', 'val', 'test')
        for key in (f'dataset.data_root={data}', 'num_workers=0', 'persistent_workers=False')
    ]

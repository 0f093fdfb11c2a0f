"""LossHistoryHook logs what mmengine's hook logs, reads rarely, and leaves out the losses of omitted steps."""

import math

import numpy as np
import pytest
import torch
from helpers.poisoned import make_runner, poisoned

LATER = dict(runtime_info=dict(type='LossHistoryHook'))
CLIPS = dict(type='ClippingOptimWrapper', clip_grad=dict(max_norm=0.5))


def histories(runner) -> dict[str, list[float]]:
    return {k: v.data[0].tolist() for k, v in runner.message_hub.log_scalars.items() if 'time' not in k}


@pytest.mark.parametrize('interval', [1, 4, 100])
def test_the_history_is_mmengines(tmp_path, interval):
    logger = dict(logger=dict(type='LoggerHook', interval=interval))
    plain = make_runner(tmp_path / 'a', poisoned(), iters=6, wrapper=CLIPS, default_hooks=logger)
    plain.train()
    later = make_runner(tmp_path / 'b', poisoned(), iters=6, wrapper=CLIPS, default_hooks=LATER | logger)
    later.train()
    ours, theirs = histories(later), histories(plain)
    assert ours.keys() == theirs.keys() >= {'train/loss', 'train/loss_box', 'train/grad_norm', 'train/lr'}
    for name, values in theirs.items():
        assert ours[name] == pytest.approx(values, rel=1e-6), name
        assert len(values) == 6


def test_the_average_does_not_become_nan_after_an_omitted_step(tmp_path):
    hooks = [dict(type='CheckLossHook', action='skip')]
    runner = make_runner(tmp_path, poisoned(2), hooks, iters=5, default_hooks=LATER)
    runner.train()
    found = runner.message_hub.get_scalar('train/loss')
    assert len(found.data[0]) == 4
    assert math.isfinite(found.mean(50))
    assert len(runner.message_hub.get_scalar('train/loss_box').data[0]) == 5  # it was finite


def test_without_the_check_a_loss_that_is_not_finite_is_shown(tmp_path):
    runner = make_runner(tmp_path, poisoned(2), iters=3, default_hooks=LATER)
    runner.train()
    assert np.isinf(runner.message_hub.get_scalar('train/loss_mask').data[0][1])


def test_a_checkpoint_has_the_whole_history(tmp_path):
    hooks = LATER | dict(checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False))
    make_runner(tmp_path, poisoned(), iters=4, default_hooks=hooks).train()
    hub = torch.load(tmp_path / 'iter_3.pth', weights_only=False)['message_hub']
    assert len(hub['log_scalars']['train/loss_box'].data[0]) == 3

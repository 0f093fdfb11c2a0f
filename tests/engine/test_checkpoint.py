import resource
from pathlib import Path

import pytest
import torch
from helpers.poisoned import make_runner, poisoned
from helpers.two_ranks import run_two_ranks
from mmengine.hooks import CheckpointHook as MmengineCheckpointHook
from mmengine.hooks import Hook

from mmuniqrnet.engine import CheckpointHook, LossBalanceHook
from mmuniqrnet.utils.errors import UserError


class DiskFull(Hook):
    """From an iteration on, no file can become larger than a part of a checkpoint."""

    priority = 'VERY_HIGH'

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.iteration:
            size = max(path.stat().st_size for path in Path(runner.work_dir).glob('*.pth'))
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.fixture
def disk():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def train(folder: Path, hooks=(), iters: int = 3, kind: str = 'CheckpointHook', **checkpoint):
    checkpoint = dict(type=kind, by_epoch=False, interval=1, max_keep_ckpts=1) | checkpoint
    runner = make_runner(folder, poisoned(), hooks, iters=iters, default_hooks=dict(checkpoint=checkpoint))
    runner.train()
    return runner


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob('*.pth*') if path.is_file())


@pytest.mark.parametrize('kind', ['CheckpointHook', 'mmengine.CheckpointHook'])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(kind, tmp_path, disk):
    with pytest.raises(OSError, match='File too large'):
        train(tmp_path, [DiskFull(2)], kind=kind)
    if kind != 'CheckpointHook':  # why the class exists
        assert names(tmp_path) == ['iter_2.pth']
        with pytest.raises((RuntimeError, OSError)):
            torch.load(tmp_path / 'iter_2.pth', weights_only=False)
        return
    assert names(tmp_path) == ['iter_1.pth']
    assert torch.load(tmp_path / 'iter_1.pth', weights_only=False)['meta']['iter'] == 1
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_1.pth')


def test_it_keeps_what_mmengine_keeps(tmp_path):
    for kind in ('CheckpointHook', 'mmengine.CheckpointHook'):
        for keep in (-1, 1, 2):
            train(tmp_path / f'{kind}{keep}', kind=kind, max_keep_ckpts=keep)
    for keep, kept in ((-1, 3), (1, 1), (2, 2)):
        ours, theirs = (names(tmp_path / f'{kind}{keep}') for kind in ('CheckpointHook', 'mmengine.CheckpointHook'))
        assert ours == theirs and len(ours) == kept


def test_the_default_hook_is_ours_and_is_mmengines(tmp_path):
    runner = train(tmp_path, iters=1)
    [hook] = [hook for hook in runner.hooks if isinstance(hook, MmengineCheckpointHook)]
    assert type(hook) is CheckpointHook


def test_the_best_one_is_removed_when_the_next_is_written(tmp_path):
    hook = CheckpointHook(interval=1, by_epoch=False, save_best='toy/score', rule='greater', max_keep_ckpts=1)
    runner = make_runner(tmp_path, poisoned(), iters=1)
    runner.register_hook(hook)
    runner.train()
    hook.after_val_epoch(runner, {'toy/score': 1.0})
    hook.after_val_epoch(runner, {'toy/score': 2.0})  # under the same name
    assert [name for name in names(tmp_path) if name.startswith('best')] == ['best_toy_score_iter_1.pth']
    runner.train_loop._iter = 2
    hook.after_val_epoch(runner, {'toy/score': 1.5})
    assert [name for name in names(tmp_path) if name.startswith('best')] == ['best_toy_score_iter_1.pth']
    hook.after_val_epoch(runner, {'toy/score': 3.0})
    assert [name for name in names(tmp_path) if name.startswith('best')] == ['best_toy_score_iter_2.pth']


def test_what_a_killed_training_left_is_removed(tmp_path):
    left = tmp_path / '.iter_7.pth.123.part'
    left.write_bytes(b'half of it')
    train(tmp_path, iters=1)
    assert not left.exists() and names(tmp_path) == ['iter_1.pth']


def follow_with_delay(rank: int, folder: str) -> None:
    """Checkpoints after every step, of hooks that look at a step when the next one is made."""
    runs = {}
    for name, bad in (('good', ()), ('bad', (3,))):
        balance = dict(
            type='LossBalanceHook',
            tasks=dict(box='loss_box', mask='loss_mask'),
            strategy=dict(type='magnitude', decay=0.5),
            delay=1,
        )
        runner = make_runner(
            f'{folder}/{name}',
            poisoned(*(bad if rank == 1 else ())),
            [dict(type='CheckLossHook', delay=1), balance],
            iters=4,
            rank=rank,
            wrapper=dict(optimizer=dict(type='AdamW', lr=0.05, fused=True)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
            launcher='pytorch',
            cfg=dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None)),
        )
        said = ''
        try:
            runner.train()
        except UserError as error:
            said = str(error)
        weights = next(hook.weights for hook in runner.hooks if isinstance(hook, LossBalanceHook))
        runs[name] = said, weights, [value.detach() for value in runner.model.parameters()]
    torch.save(runs, f'{folder}/rank{rank}.pth')


@pytest.mark.slow
def test_ranks_stay_alike_when_hooks_look_later(tmp_path):
    run_two_ranks(follow_with_delay, tmp_path)
    one, two = (torch.load(tmp_path / f'rank{rank}.pth') for rank in (0, 1))
    for name, (said, weights, parameters) in one.items():
        assert (said, weights) == two[name][:2]
        assert all(torch.equal(value, other) for value, other in zip(parameters, two[name][2]))
        assert weights['box'] != 1
    assert one['good'][0] == '' and 'at iteration 3 a loss is not finite; on rank 1' in one['bad'][0]
    assert names(tmp_path / 'bad') == ['iter_1.pth', 'iter_2.pth', 'iter_3-rank1.pth']
    saved = torch.load(tmp_path / 'good' / 'iter_4.pth', weights_only=False)['loss_balance']['weights']
    assert saved == one['good'][1]

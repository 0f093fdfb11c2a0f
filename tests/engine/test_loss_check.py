"""CheckLossHook in real runs: what it says, what it saves, and that a bad step leaves no trace."""

import warnings
from pathlib import Path

import pytest
import torch
from helpers.main_job import CONFIG, options, train
from helpers.poisoned import items, make_runner, poisoned, train_plainly
from helpers.two_ranks import run_two_ranks
from mmengine.optim import OptimWrapper

from mmuniqrnet.engine import CheckLossHook, LossBalanceHook
from mmuniqrnet.utils.errors import UserError

STOP, SKIP = dict(type='CheckLossHook'), dict(type='CheckLossHook', action='skip')
BALANCE = dict(type='LossBalanceHook', strategy='magnitude', tasks=dict(box='loss_box', mask='loss_mask'))


class ScaledOptimWrapper(OptimWrapper):
    """mmengine's AmpOptimWrapper, which needs a GPU, on the CPU: torch's own scaler."""

    def __init__(self, optimizer, init_scale):
        super().__init__(optimizer)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=init_scale)

    def backward(self, loss, **kwargs):
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()


def assert_same_training(runner, steps: list[list[int]]) -> None:
    """Weights and state of the optimiser are those of a training with these steps only."""
    model, optimizer = train_plainly(steps)
    for ours, theirs in zip(runner.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=0, atol=1e-6)
    ours, theirs = runner.optim_wrapper.optimizer.state_dict()['state'], optimizer.state_dict()['state']
    assert ours.keys() == theirs.keys()
    for number, state in ours.items():
        assert state['step'] == theirs[number]['step'] == len(steps)
        for name in ('exp_avg', 'exp_avg_sq'):
            torch.testing.assert_close(state[name].cpu(), theirs[number][name], rtol=0, atol=1e-6)


def test_stop_says_which_losses_and_expressions_and_saves_the_batch(tmp_path):
    runner = make_runner(tmp_path, poisoned(3), [STOP])
    with pytest.raises(UserError) as error:
        runner.train()
    file = tmp_path / 'not_finite' / 'iter_3.pth'
    for words in (
        'at iteration 3 a loss is not finite; loss_mask=inf; expressions ',
        "refcoco/train/4 'cup 4' (image 4), refcoco/train/5 'cup 5' (image 5)",
        f'saved in {file}',
        "CheckLossHook(action='skip')",
    ):
        assert words in str(error.value)
    assert 'loss_box' not in str(error.value)
    assert_same_training(runner, [[1], [2]])
    saved = torch.load(file, weights_only=False)
    assert (saved['iter'], saved['rank'], saved['losses']['loss_mask']) == (3, 0, float('inf'))
    assert 0 < saved['losses']['loss_box'] < 10
    assert [one['text'] for one in saved['expressions']] == ['cup 4', 'cup 5']
    assert all(torch.equal(a, b['inputs']) for a, b in zip(saved['batch']['inputs'], items()[4:6], strict=True))
    # The batch can be given to the model again.
    model = poisoned(1)
    assert model(**model.data_preprocessor(saved['batch'], True), mode='loss')['loss_mask'].isinf()


def test_a_file_is_never_overwritten(tmp_path):
    for _ in range(2):
        with pytest.raises(UserError):
            make_runner(tmp_path, poisoned(1), [STOP]).train()
    assert sorted(path.name for path in (tmp_path / 'not_finite').iterdir()) == ['iter_1-2.pth', 'iter_1.pth']


def test_skip_leaves_no_trace_in_weights_and_optimiser(tmp_path, capfd):
    runner = make_runner(tmp_path, poisoned(2, 5), [SKIP])
    runner.train()
    assert_same_training(runner, [[1], [3], [4], [6]])
    assert {path.name for path in (tmp_path / 'not_finite').iterdir()} == {'iter_2.pth', 'iter_5.pth'}
    assert not {'update_params', 'step', '_step_guard'} & set(vars(runner.optim_wrapper))  # all is as it was
    said = capfd.readouterr()
    assert 'at iteration 5 a loss is not finite' in said.out + said.err


def test_a_runner_that_was_stopped_can_train_on(tmp_path):
    runner = make_runner(tmp_path, poisoned(2), [STOP], iters=4)
    with pytest.raises(UserError):
        runner.train()
    runner.train()
    assert runner.model.calls == 2 + 3 and runner.iter == 4


def test_schedulers_of_mmengine_count_on(tmp_path):
    """They replace the wrapper's step as well, and warn if somebody replaced it after them."""
    schedule = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        runner = make_runner(tmp_path, poisoned(3), [SKIP], param_scheduler=[schedule])
        runner.train()
    assert runner.optim_wrapper._global_step == 5 - 1
    assert runner.optim_wrapper.step._with_counter and '_step_guard' not in vars(runner.optim_wrapper)


def test_without_bad_losses_nothing_changes(tmp_path):
    with_hook, without = make_runner(tmp_path, poisoned(), [STOP]), make_runner(tmp_path, poisoned())
    with_hook.train()
    without.train()
    assert all(torch.equal(a, b) for a, b in zip(with_hook.model.parameters(), without.model.parameters()))
    assert not (tmp_path / 'not_finite').exists()


@pytest.mark.parametrize('bad', [3, 4])
def test_accumulated_batches_are_dropped_together(bad, tmp_path):
    runner = make_runner(tmp_path, poisoned(bad), [SKIP], wrapper=dict(accumulative_counts=2))
    runner.train()
    assert_same_training(runner, [[1, 2], [5, 6]])
    with pytest.raises(UserError, match=f'at iteration {bad} '):  # at once, not at the end of the step
        make_runner(tmp_path, poisoned(bad), [STOP], wrapper=dict(accumulative_counts=2)).train()


def test_clipping_does_not_see_them(tmp_path):
    runner = make_runner(tmp_path, poisoned(2), [SKIP], iters=2, wrapper=dict(clip_grad=dict(max_norm=1e6)))
    runner.train()
    assert_same_training(runner, [[1]])


def test_too_many_in_a_row_stop(tmp_path):
    hook = dict(SKIP, max_in_a_row=2)
    make_runner(tmp_path / 'a', poisoned(2, 3, 5, 6), [hook], iters=7).train()
    with pytest.raises(UserError, match='at iteration 4, 3 steps in a row'):
        make_runner(tmp_path / 'b', poisoned(2, 3, 4), [hook], iters=7).train()
    with pytest.raises(UserError, match='at iteration 6, 3 steps in a row'):  # a bad batch in each step of two
        wrapper = dict(accumulative_counts=2)
        make_runner(tmp_path / 'c', poisoned(1, 3, 5), [hook], iters=8, wrapper=wrapper).train()


def test_gradients_that_are_not_finite_at_finite_losses(tmp_path):
    runner = make_runner(tmp_path / 'a', poisoned(bad_gradients=(2,)), [SKIP], iters=3)
    runner.train()
    assert_same_training(runner, [[1], [3]])
    with pytest.raises(UserError, match='at iteration 2 gradients are not finite, though the losses are, in shared.w'):
        make_runner(tmp_path / 'b', poisoned(bad_gradients=(2,)), [STOP], iters=3).train()
    # Without the check, it is the next batch whose loss is not finite, and the weights are lost.
    alone = make_runner(tmp_path / 'c', poisoned(bad_gradients=(2,)), [dict(STOP, gradients=False)], iters=3)
    with pytest.raises(UserError, match='at iteration 3 a loss is not finite'):
        alone.train()
    assert alone.model.mask.weight.isnan().all()


def test_a_gradient_that_overflows_under_a_loss_scaler_is_left_to_it(tmp_path):
    model = poisoned()
    wrapper = ScaledOptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.05), init_scale=2.0**127)
    runner = make_runner(tmp_path, model, [STOP], iters=4, wrapper=wrapper)
    runner.train()
    assert wrapper.loss_scaler.get_scale() < 2.0**127  # it overflowed at least once
    assert not (tmp_path / 'not_finite').exists()


def test_a_bad_loss_under_a_loss_scaler_is_not_an_overflow(tmp_path):
    model = poisoned(2)
    wrapper = ScaledOptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.05), init_scale=1024.0)
    runner = make_runner(tmp_path, model, [SKIP], iters=3, wrapper=wrapper)
    runner.train()
    assert_same_training(runner, [[1], [3]])
    assert wrapper.loss_scaler.get_scale() == 1024.0


@pytest.mark.parametrize('hooks', [[SKIP, BALANCE], [BALANCE, SKIP]])
@pytest.mark.parametrize('accumulate', [1, 2])
def test_with_the_balance_of_the_losses(hooks, accumulate, tmp_path):
    """The balance's weights are those of the good steps."""

    def balanced(*bad, iters, folder):
        runner = make_runner(tmp_path / folder, poisoned(*bad), hooks, iters=iters, wrapper=wrapper)
        runner.train()
        return next(hook for hook in runner.hooks if isinstance(hook, LossBalanceHook)).weights, runner

    wrapper = dict(accumulative_counts=accumulate)
    before, good = balanced(iters=2 * accumulate, folder='good')
    after, bad = balanced(2 * accumulate + 1, iters=3 * accumulate, folder='bad')
    assert before == after and before['box'] != 1.0
    assert all(torch.equal(a, b) for a, b in zip(good.model.parameters(), bad.model.parameters()))


def test_a_compiled_step(tmp_path):
    runner = make_runner(tmp_path, poisoned(2), [SKIP], iters=3, cfg=dict(compile=dict(backend='eager')))
    runner.train()
    assert_same_training(runner, [[1], [3]])


def run_rank(rank: int, folder: str) -> None:
    ddp = dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None))
    found = {}
    for name, hook, bad in (('good', STOP, ()), ('skip', SKIP, (3,)), ('stop', STOP, (3,))):
        for accumulate in (1, 2):
            runner = make_runner(
                f'{folder}/{name}{accumulate}',
                poisoned(*(bad if rank == 1 else ())),
                [hook, BALANCE],
                iters=6 if bad else 2,
                rank=rank,
                wrapper=dict(accumulative_counts=accumulate, clip_grad=dict(max_norm=1.0)),
                launcher='pytorch',
                cfg=ddp,
            )
            said = ''
            try:
                runner.train()
            except UserError as error:
                said = str(error)
            found[name, accumulate] = said, [value.detach().clone() for value in runner.model.parameters()]
    torch.save(found, f'{folder}/rank{rank}.pth')


def test_two_ranks_act_alike(tmp_path):
    run_two_ranks(run_rank, tmp_path)
    ranks = [torch.load(tmp_path / f'rank{rank}.pth') for rank in (0, 1)]
    for run, (said, weights) in ranks[0].items():
        assert said == ranks[1][run][0]
        assert all(torch.equal(a, b) for a, b in zip(weights, ranks[1][run][1])), run
        assert all(value.isfinite().all() for value in weights)
    for accumulate in (1, 2):
        said, weights = ranks[0]['stop', accumulate]
        assert 'at iteration 3 a loss is not finite; on rank 1, loss_mask=inf; expressions refcoco/train/' in said
        assert all(torch.equal(a, b) for a, b in zip(weights, ranks[0]['good', accumulate][1]))
        files = list((tmp_path / f'stop{accumulate}' / 'not_finite').iterdir())
        assert [path.name for path in files] == ['iter_3-rank1.pth'] and str(files[0]) in said
        assert ranks[0]['skip', accumulate][0] == ''


def test_the_main_job_stops_at_the_step_and_not_at_the_validation(tmp_path, few_shapes):
    with pytest.raises(UserError, match=r'CheckLossHook: at iteration \d .*refshapes/train/.*saved in .*iter_\d.pth'):
        train.main(
            [
                CONFIG,
                '--work-dir',
                str(tmp_path / 'run'),
                '--cfg-options',
                *options(few_shapes, 'exploding', 8),
                'optim_wrapper.optimizer.lr=1e30',
                'train_cfg.val_interval=99',
            ]
        )
    assert len(list(Path(tmp_path, 'run', 'not_finite').glob('iter_*.pth'))) == 1


@pytest.mark.parametrize('wrong', [dict(action='warn'), dict(action='skip', max_in_a_row=0)])
def test_options_that_make_no_sense(wrong):
    with pytest.raises(UserError, match='CheckLossHook: '):
        CheckLossHook(**wrong)


FUSED = dict(type='ClippingOptimWrapper', optimizer=dict(type='AdamW', lr=0.05, fused=True))


@pytest.mark.parametrize('bad', [dict(bad_losses=(3,)), dict(bad_gradients=(3,))])
def test_with_a_delay_the_device_omits_the_step_and_the_report_comes_later(tmp_path, bad):
    model = poisoned(*bad.get('bad_losses', ()), bad_gradients=bad.get('bad_gradients', ()))
    runner = make_runner(tmp_path, model, [STOP | dict(delay=1)], wrapper=FUSED)
    with pytest.raises(UserError, match="at iteration 3 .* refcoco/train/4 'cup 4'"):
        runner.train()
    assert model.calls == 4
    assert_same_training(runner, [[1], [2], [4]])
    saved = torch.load(tmp_path / 'not_finite' / 'iter_3.pth', weights_only=False)
    assert saved['iter'] == 3
    assert [one['text'] for one in saved['expressions']] == ['cup 4', 'cup 5']


def test_with_a_delay_omitted_steps_leave_no_trace(tmp_path):
    hooks = [SKIP | dict(delay=2), BALANCE | dict(strategy='fixed', delay=1)]
    wrapper = FUSED | dict(accumulative_counts=2)
    runner = make_runner(tmp_path, poisoned(2), hooks, iters=6, wrapper=wrapper)
    runner.train()
    assert_same_training(runner, [[3, 4], [5, 6]])


def test_a_delayed_report_comes_before_a_checkpoint_and_the_end(tmp_path):
    saves = dict(checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False))
    runner = make_runner(tmp_path, poisoned(3), [STOP | dict(delay=2)], wrapper=FUSED, default_hooks=saves)
    with pytest.raises(UserError, match='at iteration 3'):
        runner.train()
    assert not list(tmp_path.glob('iter_*.pth'))
    with pytest.raises(UserError, match='at iteration 6'):
        make_runner(tmp_path, poisoned(6), [STOP | dict(delay=2)], wrapper=FUSED).train()


def test_too_many_steps_in_a_row_stop_the_training_with_a_delay_too(tmp_path):
    hooks = [SKIP | dict(delay=1, max_in_a_row=2)]
    with pytest.raises(UserError, match='at iteration 4, 3 steps in a row'):
        make_runner(tmp_path, poisoned(2, 3, 4), hooks, wrapper=FUSED).train()


def test_without_a_fused_optimiser_a_delay_only_delays_the_report(tmp_path, capfd):
    runner = make_runner(tmp_path, poisoned(3), [STOP | dict(delay=1)], log_level='INFO')
    with pytest.raises(UserError, match='at iteration 3'):
        runner.train()
    assert 'the optimiser is not fused' in ''.join(capfd.readouterr())
    assert_same_training(runner, [[1], [2], [4]])
    with pytest.raises(UserError, match='0 or more'):
        CheckLossHook(delay=-1)

"""LossBalanceHook in real runs of mmengine's Runner: weights, resuming, accumulation, steps that are left out."""

import pytest
import torch
from helpers.balance_samples import (
    ALL_STRATEGIES,
    NAMES,
    TASKS,
    Record,
    TwoTasks,
    balance_cfg,
    find_hook,
    make_runner,
    raw_losses,
    seeded_model,
    train,
)
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper


def test_the_trained_loss_is_the_weighted_sum_and_the_logged_ones_are_raw(tmp_path):
    strategy = dict(type='fixed', weights=dict(box=0.25, mask=2.0))
    _, record = train(tmp_path, strategy, iters=3)
    # The same training written out in plain torch.
    model = seeded_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for step in range(3):
        raw = raw_losses(model, step)
        total = 0.25 * raw['box'] + 2 * raw['mask'] + raw['rest']
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        out = record.outputs[step]
        assert out['loss'] == pytest.approx(total.item(), rel=1e-5)
        assert out['loss_box_l1'] + out['loss_box_giou'] == pytest.approx(raw['box'].item(), rel=1e-5)
        assert out['balance/raw_box'] == pytest.approx(raw['box'].item(), rel=1e-5)
        assert out['balance/raw_mask'] == pytest.approx(raw['mask'].item(), rel=1e-5)
        assert (out['balance/weight_box'], out['balance/weight_mask']) == (0.25, 2.0)
        for ours, theirs in zip(model.parameters(), record.parameters[step]):
            torch.testing.assert_close(ours, theirs)


def test_weights_of_one_train_bit_equal_to_no_hook(tmp_path):
    _, plain = train(tmp_path / 'plain')
    _, balanced = train(tmp_path / 'balanced', dict(type='fixed'))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters[-1], balanced.parameters[-1]))
    shared = {name: value for name, value in balanced.outputs[-1].items() if not name.startswith('balance/')}
    assert shared == plain.outputs[-1]


def test_strategy_gets_the_raw_losses_of_the_step_before(tmp_path):
    _, record = train(tmp_path, dict(type='magnitude', decay=0.0), iters=4)
    assert record.outputs[0]['balance/weight_box'] == record.outputs[0]['balance/weight_mask'] == 1.0
    for before, now in zip(record.outputs, record.outputs[1:]):
        box, mask = before['balance/raw_box'], before['balance/raw_mask']
        assert now['balance/weight_box'] == pytest.approx(2 * mask / (box + mask), rel=1e-5)
        assert now['balance/weight_mask'] == pytest.approx(2 * box / (box + mask), rel=1e-5)


class ScaledOptimWrapper(OptimWrapper):
    """mmengine's AmpOptimWrapper, which wants a GPU, on the CPU: torch's own scaler, whose first step overflows."""

    def __init__(self, optimizer, init_scale=3e38):
        super().__init__(optimizer)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=init_scale)

    def backward(self, loss, **kwargs):
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update(new_scale=1024.0)


@pytest.mark.parametrize('scaled', [False, True])
def test_gradnorm_hands_over_norms_at_the_shared_parameters(scaled, tmp_path):
    seen, options = [], {}
    if scaled:
        model = seeded_model()
        wrapper = ScaledOptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.05), init_scale=1024.0)
        options = dict(model=model, optim_wrapper=wrapper)
    runner = make_runner(tmp_path, [balance_cfg(dict(type='gradnorm', interval=2)), Record()], iters=3, **options)
    strategy = find_hook(runner).strategy
    update = strategy.update
    strategy.update = lambda losses, norms: seen.append((losses, norms)) or update(losses, norms)
    runner.train()
    record = runner.hooks[-1]
    assert seen[1][1] is None and seen[2][1] is not None
    model = seeded_model()
    for step in (0, 2):
        if step:
            for ours, theirs in zip(model.parameters(), record.parameters[step - 1]):
                ours.data.copy_(theirs)
        raw = raw_losses(model, step)
        for task in ('box', 'mask'):
            model.zero_grad()
            raw[task].backward(retain_graph=True)
            norm = torch.cat([p.grad.flatten() for p in model.shared.parameters()]).norm()
            assert seen[step][1][task] == pytest.approx(float(norm), rel=1e-4)
            assert seen[step][0][task] == pytest.approx(raw[task].item(), rel=1e-5)


def test_model_offers_its_shared_parameters(tmp_path):

    class Offering(TwoTasks):
        def shared_parameters(self):
            return self.shared.parameters()

    strategy = dict(type='gradnorm', interval=1)
    torch.manual_seed(0)
    model = Offering()
    _, offered = train(tmp_path / 'a', strategy, balance=dict(shared_parameters=None), model=model)
    _, named = train(tmp_path / 'b', strategy, balance=dict(shared_parameters='shared'))
    assert offered.weights == named.weights
    assert offered.weights[-1]['box'] != 1.0


@pytest.mark.parametrize('strategy', ALL_STRATEGIES, ids=NAMES)
@pytest.mark.parametrize('accumulate', [1, 3])
def test_resume_is_bit_equal(strategy, accumulate, tmp_path):
    options = dict(optim_wrapper=dict(accumulative_counts=accumulate), iters=12)
    checkpoint = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=6))
    _, straight = train(tmp_path, strategy, default_hooks=checkpoint, **options)
    saved = tmp_path / 'iter_6.pth'
    _, resumed = train(tmp_path / 'resumed', strategy, load_from=str(saved), resume=True, **options)
    assert len(resumed.weights) == 6
    assert resumed.weights == straight.weights[6:]
    assert resumed.outputs == straight.outputs[6:]
    for ours, theirs in zip(straight.parameters[-1], resumed.parameters[-1]):
        assert torch.equal(ours, theirs)
    if strategy['type'] != 'fixed':
        assert straight.weights[5] != straight.weights[-1]


def test_load_from_starts_afresh(tmp_path):
    strategy = dict(type='uncertainty', lr=0.1)
    _, first = train(tmp_path, strategy)
    _, loaded = train(tmp_path / 'loaded', strategy, load_from=str(tmp_path / 'iter_6.pth'))
    assert first.outputs[-1]['balance/weight_box'] != 0.5
    assert loaded.outputs[0]['balance/weight_box'] == loaded.outputs[0]['balance/weight_mask'] == 0.5


def test_resume_with_another_strategy_is_refused(tmp_path):
    train(tmp_path, dict(type='magnitude'))
    with pytest.raises(ValueError, match='Magnitude.*DynamicWeightAverage.*load_from'):
        train(tmp_path, dict(type='dwa'), resume=True, iters=9)


def test_resume_from_a_run_without_the_hook_starts_afresh(tmp_path):
    train(tmp_path)
    _, record = train(tmp_path, dict(type='magnitude'), resume=True, iters=9)
    assert record.outputs[0]['balance/weight_box'] == 1.0
    assert record.weights[-1]['box'] != 1.0


def test_checkpoint_s_part_loads_without_unpickling_code(tmp_path):
    runner, _ = train(tmp_path, dict(type='uncertainty'))
    checkpoint = {}
    find_hook(runner).before_save_checkpoint(runner, checkpoint)
    torch.save(checkpoint, tmp_path / 'part.pth')
    assert torch.load(tmp_path / 'part.pth', weights_only=True)['loss_balance']['weights'] == find_hook(runner).weights


def test_accumulation_updates_once_a_step_with_the_mean(tmp_path):
    # Seven batches at three a step: mmengine makes a last step of the one left over.
    _, record = train(tmp_path, dict(type='magnitude', decay=0.0), iters=7, optim_wrapper=dict(accumulative_counts=3))
    used = [out['balance/weight_box'] for out in record.outputs]
    assert used[0] == used[1] == used[2] == 1.0
    assert used[3] == used[4] == used[5] != used[6]
    for window, weights in (
        (record.outputs[:3], record.weights[2]),
        (record.outputs[3:6], record.weights[5]),
        (record.outputs[6:], record.weights[6]),
    ):
        box = sum(out['balance/raw_box'] for out in window) / len(window)
        mask = sum(out['balance/raw_mask'] for out in window) / len(window)
        assert weights['box'] == pytest.approx(2 * mask / (box + mask), rel=1e-5)


def test_a_loss_that_is_not_finite_leaves_weights_and_state(tmp_path):
    runner, record = train(tmp_path, dict(type='magnitude', decay=0.5), model=TwoTasks(poison=3), iters=3, lr=0.0)
    assert record.weights[1] == record.weights[2] != dict(box=1.0, mask=1.0)
    box = [out['balance/raw_box'] for out in record.outputs]
    assert box[2] != box[2]
    assert find_hook(runner).strategy.averages['box'] == pytest.approx((box[0] + box[1]) / 2, rel=1e-5)


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('strategy', ALL_STRATEGIES[1:], ids=NAMES[1:])
def test_steps_that_amp_skips_do_not_count(fused, strategy, tmp_path):
    model = seeded_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, fused=fused)
    runner, record = train(tmp_path, strategy, model=model, optim_wrapper=ScaledOptimWrapper(optimizer), iters=3)
    before = list(seeded_model().parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, record.parameters[0]))
    assert not all(torch.equal(a, b) for a, b in zip(before, record.parameters[1]))
    # The second batch makes the first step, with the weights that the first batch has in a run without scaling.
    _, unscaled = train(tmp_path / 'unscaled', strategy, iters=3)
    first = {task: unscaled.outputs[0][f'balance/weight_{task}'] for task in TASKS}
    assert record.weights[0] == pytest.approx(first, rel=1e-6)
    if strategy['type'] == 'random':
        assert record.weights[1:] == unscaled.weights[:2]
    if strategy['type'] == 'gradnorm':
        assert find_hook(runner).strategy.steps == 2
    if strategy['type'] == 'dwa':
        assert record.weights[1] == dict(box=1.0, mask=1.0) != record.weights[2]


def test_a_task_without_supervision_in_a_batch_is_left_out_of_its_mean(tmp_path):

    class HalfSupervised(TwoTasks):
        def forward(self, inputs, mode='tensor'):
            losses = super().forward(inputs, mode)
            if self.calls > 1:
                losses['loss_mask_bce'] = [value * 0 for value in losses['loss_mask_bce']]
                losses['loss_aux_0'] = losses['loss_aux_0'] * 0
            return losses

    _, record = train(
        tmp_path,
        dict(type='magnitude', decay=0.0),
        model=HalfSupervised(),
        iters=4,
        optim_wrapper=dict(accumulative_counts=2),
    )
    box = (record.outputs[0]['balance/raw_box'] + record.outputs[1]['balance/raw_box']) / 2
    mask = record.outputs[0]['balance/raw_mask']
    assert record.outputs[1]['balance/raw_mask'] == 0
    assert record.weights[1]['box'] == pytest.approx(2 * mask / (box + mask), rel=1e-5)
    assert record.weights[3] == record.weights[1]  # no mask at all in the second step


def test_zero_weight_keeps_the_branch_in_the_graph(tmp_path):
    gradients = []

    class Look(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            gradients.append(runner.model.box.weight.grad)

    class Keep(OptimWrapper):
        def zero_grad(self, **kwargs):
            pass

    model = seeded_model()
    wrapper = Keep(torch.optim.SGD(model.parameters(), lr=0.1))
    train(
        tmp_path,
        dict(type='fixed', weights=dict(box=0, mask=1)),
        model=model,
        optim_wrapper=wrapper,
        iters=1,
        hooks=[Look()],
    )
    assert gradients[0] is not None and not gradients[0].any()

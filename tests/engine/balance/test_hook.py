"""LossBalanceHook in real runs of mmengine's Runner, on a two-task model small enough to recompute by hand."""

import copy
import pickle
import uuid

import pytest
import torch
from helpers import poisoned as samples
from helpers.two_ranks import run_two_ranks
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from mmuniqrnet.engine import LossBalanceHook
from mmuniqrnet.utils.mmcv_ops import mmcv_ops

TASKS = dict(box='loss_box', mask=('loss_mask', 'loss_aux'))
ALL_STRATEGIES = [
    dict(type='fixed', weights=dict(box=0.25, mask=2.0)),
    dict(type='magnitude', decay=0.5),
    dict(type='dwa', window=1),
    dict(type='uncertainty', lr=0.1),
    dict(type='gradnorm', interval=2, lr=0.1),
    dict(type='random', seed=3),
]
NAMES = [strategy['type'] for strategy in ALL_STRATEGIES]


class TwoTasks(BaseModel):
    """Two heads on one layer; inputs [B, 3], targets in their signs and sums."""

    def __init__(self, poison: int | None = None):
        super().__init__()
        self.shared, self.box, self.mask = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 1)
        self.poison, self.calls = poison, 0

    def forward(self, inputs: torch.Tensor, mode: str = 'tensor') -> dict:
        self.calls += 1
        features = torch.tanh(self.shared(inputs))
        box, mask = self.box(features), self.mask(features)
        wrong = float('nan') if self.calls == self.poison else 1.0
        return dict(
            loss_box_l1=(box - inputs[:, :2]).abs() * wrong,
            loss_box_giou=box.square().mean() * 10,
            loss_mask_bce=[nn.functional.softplus(mask), mask.square()],
            loss_aux_0=0.1 * (mask - 1).square().mean(),
            loss_other=features.square().mean(),
            accuracy=mask.mean(),
        )

    def val_step(self, data):
        return []


def seeded_model() -> TwoTasks:
    torch.manual_seed(0)
    return TwoTasks()


def data(rank: int = 0) -> list[dict]:
    values = torch.randn(64, 3, generator=torch.Generator().manual_seed(7 + rank)) * (1 + rank)
    return [dict(inputs=value) for value in values]


def balance_cfg(strategy, **options) -> dict:
    if strategy['type'] == 'gradnorm':
        options.setdefault('shared_parameters', ['shared'])
    return dict(type='mmuniqrnet.LossBalanceHook', tasks=TASKS, strategy=strategy, **options)


class Record(Hook):
    """Keeps what each iteration logged, and the parameters after it."""

    priority = 'LOWEST'

    def __init__(self):
        self.outputs, self.weights, self.parameters = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.outputs.append({name: float(value.detach()) for name, value in outputs.items()})
        hook = find_hook(runner)
        self.weights.append(dict(hook.weights) if hook else None)
        self.parameters.append([parameter.detach().clone() for parameter in runner.model.parameters()])


def find_hook(runner: Runner) -> LossBalanceHook | None:
    return next((hook for hook in runner.hooks if isinstance(hook, LossBalanceHook)), None)


def make_runner(work_dir, hooks=(), *, iters=6, model=None, optim_wrapper=None, lr=0.05, rank=0, **options) -> Runner:
    dataloader = dict(
        dataset=data(rank),
        batch_size=4,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=lr))
    wrapper = optim_wrapper if isinstance(optim_wrapper, OptimWrapper) else wrapper | (optim_wrapper or {})
    defaults = dict(
        default_scope='mmengine',
        experiment_name=uuid.uuid4().hex,
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3),
            logger=dict(type='LoggerHook', interval=1),
        ),
        log_level='WARNING',
    )
    return Runner(
        model=model or seeded_model(),
        work_dir=str(work_dir),
        train_dataloader=dataloader,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iters),
        optim_wrapper=wrapper,
        custom_hooks=list(hooks),
        **(defaults | options),
    )


def train(work_dir, strategy=None, *, hooks=(), balance=None, **options) -> tuple[Runner, Record]:
    """Train with the hook, made from a config as a user would; ``balance`` are its further options."""
    record = Record()
    balance = [balance_cfg(strategy, **(balance or {}))] if strategy else []
    runner = make_runner(work_dir, [*balance, record, *hooks], **options)
    runner.train()
    return runner, record


def raw_losses(model: nn.Module, step: int) -> dict[str, torch.Tensor]:
    """The unweighted loss of each task, from the model's own forward on the batch of that step."""
    batch = torch.stack([item['inputs'] for item in data()])[4 * step : 4 * step + 4]
    losses = model(batch, mode='loss')
    mask = sum(value.mean() for value in losses['loss_mask_bce']) + losses['loss_aux_0']
    return dict(box=losses['loss_box_l1'].mean() + losses['loss_box_giou'], mask=mask, rest=losses['loss_other'])


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


def test_parse_losses_is_restored(tmp_path):
    runner, _ = train(tmp_path, dict(type='magnitude'))
    model = runner.model
    assert 'parse_losses' not in vars(model)
    assert model.parse_losses.__func__ is BaseModel.parse_losses
    pickle.loads(pickle.dumps(model))
    assert not runner.optim_wrapper.optimizer._optimizer_step_post_hooks


def test_someone_else_s_parse_losses_is_respected_and_given_back(tmp_path):

    def doubled(losses):
        total, log_vars = BaseModel.parse_losses(model, losses)
        return total * 2, log_vars

    model = seeded_model()
    model.parse_losses = doubled
    _, record = train(tmp_path, dict(type='fixed', weights=dict(box=0.25, mask=2.0)), model=model, iters=1)
    assert model.parse_losses is doubled
    raw = raw_losses(seeded_model(), 0)
    assert record.outputs[0]['balance/raw_box'] == pytest.approx(raw['box'].item(), rel=1e-5)


def test_training_again_after_an_interrupted_one_replaces_parse_losses_once(tmp_path):

    class Break(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            raise RuntimeError('power cut')

    model = seeded_model()
    with pytest.raises(RuntimeError, match='power cut'):
        train(tmp_path, dict(type='fixed', weights=dict(box=0.5, mask=0.5)), model=model, hooks=[Break()], lr=0.0)
    copy.deepcopy(model)  # as EMAHook does when the next training starts
    _, record = train(tmp_path, dict(type='fixed', weights=dict(box=0.5, mask=0.5)), model=model, iters=1, lr=0.0)
    out = record.outputs[0]
    expected = 0.5 * (out['balance/raw_box'] + out['balance/raw_mask']) + out['loss_other']
    assert out['loss'] == pytest.approx(expected, rel=1e-5)
    assert 'parse_losses' not in vars(model)


def test_losses_of_a_model_in_eval_mode_are_left_alone(tmp_path):
    seen = []

    class Validate(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            runner.model.eval()
            total, log_vars = runner.model.parse_losses(dict(loss_box=torch.tensor(3.0), loss_mask=torch.tensor(4.0)))
            seen.append((float(total), list(log_vars)))
            runner.model.train()

    strategy = dict(type='magnitude', decay=0.0)
    _, record = train(tmp_path, strategy, hooks=[Validate()])
    assert set(map(str, seen)) == {"(7.0, ['loss', 'loss_box', 'loss_mask'])"}
    assert record.weights == train(tmp_path / 'b', strategy)[1].weights


def test_with_ema(tmp_path):
    strategy = dict(type='uncertainty', lr=0.1)
    ema = dict(type='EMAHook', momentum=0.3)
    options = dict(iters=6)
    runner, straight = train(tmp_path, strategy, hooks=[HOOKS.build(ema)], **options)
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    assert 'parse_losses' not in vars(hook.ema_model.module)
    _, without = train(tmp_path / 'without', strategy, **options)
    assert straight.weights == without.weights
    _, resumed = train(
        tmp_path / 'on',
        strategy,
        hooks=[HOOKS.build(ema)],
        load_from=str(tmp_path / 'iter_3.pth'),
        resume=True,
        **options,
    )
    assert resumed.weights == straight.weights[3:]
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters[-1], straight.parameters[-1]))


def test_tensorboard_gets_weights_and_raw_losses(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, record = train(
        tmp_path,
        dict(type='magnitude', decay=0.0),
        iters=3,
        visualizer=dict(type='Visualizer', name=uuid.uuid4().hex, vis_backends=[dict(type='TensorboardVisBackend')]),
    )
    events = EventAccumulator(next(str(path.parent) for path in tmp_path.rglob('events.out*')))
    events.Reload()
    for name in ('balance/weight_box', 'balance/weight_mask', 'balance/raw_box', 'balance/raw_mask'):
        scalars = events.Scalars(name)
        assert [scalar.step for scalar in scalars] == [1, 2, 3]
        assert [scalar.value for scalar in scalars] == pytest.approx([out[name] for out in record.outputs], rel=1e-5)


def test_compiled_train_step(tmp_path):
    strategy = dict(type='magnitude', decay=0.0)
    _, plain = train(tmp_path / 'a', strategy, iters=3)
    cfg = dict(compile=dict(backend='eager'))
    _, compiled = train(tmp_path / 'b', strategy, iters=3, cfg=cfg)
    for ours, theirs in zip(plain.weights, compiled.weights):
        assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize(
    'tasks, says',
    [
        (dict(box='loss_bbox', mask='loss_mask'), "task 'box' .*loss_bbox.* none of the losses loss_box_l1, "),
        (dict(box='loss_', mask='loss_mask'), 'loss_mask_bce belongs to several tasks, box, mask'),
        (dict(box='loss_box', mask='accuracy'), "task 'mask'"),
    ],
)
def test_tasks_that_do_not_fit_the_losses(tasks, says, tmp_path):
    cfg = dict(type='mmuniqrnet.LossBalanceHook', tasks=tasks)
    with pytest.raises(ValueError, match=says):
        make_runner(tmp_path, [cfg]).train()


@pytest.mark.parametrize(
    'shared, says',
    [
        (['shared', 'neck'], 'TwoTasks has no parameter or module neck'),
        (['share'], 'TwoTasks has no parameter or module share'),
        (['box'], "task 'mask' do not depend"),
        (None, 'name the last parameters or modules that all tasks share'),
    ],
)
def test_shared_parameters_that_do_not_fit(shared, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        train(tmp_path, dict(type='gradnorm'), balance=dict(shared_parameters=shared))


def test_two_hooks_are_refused(tmp_path):
    with pytest.raises(ValueError, match='only one LossBalanceHook'):
        make_runner(tmp_path, [balance_cfg(dict(type='fixed'))] * 2).train()


def test_a_model_that_sums_its_losses_itself_is_told(tmp_path):

    class Alone(TwoTasks):
        def train_step(self, data, optim_wrapper):
            loss = self(data['inputs'], mode='loss')['loss_other']
            optim_wrapper.update_params(loss)
            return dict(loss=loss)

    with pytest.raises(RuntimeError, match='train_step of Alone does not call its parse_losses'):
        train(tmp_path, dict(type='fixed'), model=Alone())


def run_rank(rank: int, work_dir: str) -> None:
    records = {}
    for strategy in ALL_STRATEGIES:
        for accumulate in (1, 2):
            _, record = train(
                f'{work_dir}/{strategy["type"]}{accumulate}',
                strategy,
                iters=4,
                rank=rank,
                launcher='pytorch',
                optim_wrapper=dict(accumulative_counts=accumulate),
                cfg=dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None)),
            )
            records[strategy['type'], accumulate] = vars(record)
    torch.save(records, f'{work_dir}/rank{rank}.pth')


def test_two_ranks_use_one_weight(tmp_path):
    run_two_ranks(run_rank, tmp_path)
    ranks = [torch.load(tmp_path / f'rank{rank}.pth') for rank in (0, 1)]
    assert len(ranks[0]) == 12
    for run in ranks[0]:
        one, two = (rank[run] for rank in ranks)
        assert one['weights'] == two['weights']
        assert one['outputs'][0]['balance/raw_box'] != two['outputs'][0]['balance/raw_box']
        assert all(torch.equal(a, b) for a, b in zip(one['parameters'][-1], two['parameters'][-1]))
    for accumulate in (1, 2):
        first = [out for rank in ranks for out in rank['magnitude', accumulate]['outputs'][:accumulate]]
        box, mask = (sum(out[f'balance/raw_{task}'] for out in first) for task in ('box', 'mask'))
        weights = ranks[0]['magnitude', accumulate]['weights'][accumulate - 1]
        assert weights['box'] == pytest.approx(2 * mask / (box + mask), rel=1e-5)


def mask_rcnn_cfg():
    hub = pytest.importorskip('mmengine.hub')
    if mmcv_ops() != 'compiled':
        pytest.skip('needs mmcv with compiled ops: `make env OPS=1`')
    cfg = hub.get_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py').model
    cfg.backbone.update(depth=18, init_cfg=None, norm_eval=False, frozen_stages=-1)
    cfg.neck.update(in_channels=[64, 128, 256, 512], out_channels=16)
    cfg.rpn_head.update(in_channels=16, feat_channels=16)
    for extractor in (cfg.roi_head.bbox_roi_extractor, cfg.roi_head.mask_roi_extractor):
        extractor.out_channels = 16
    cfg.roi_head.bbox_head.update(in_channels=16, fc_out_channels=32, num_classes=3)
    cfg.roi_head.mask_head.update(in_channels=16, conv_out_channels=16, num_convs=1, num_classes=3)
    cfg.train_cfg.rcnn.sampler.num = 16
    return cfg


def test_mask_rcnn_by_config_alone(tmp_path):
    cfg = mask_rcnn_cfg()
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    items = []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        sample = DetDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0)))
        masks = torch.zeros(1, 64, 64, dtype=torch.uint8)
        masks[:, 8:40, 10:50] = 1
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[10.0, 8.0, 50.0, 40.0]]),
            labels=torch.tensor([seed % 3]),
            masks=BitmapMasks(masks.numpy(), 64, 64),
        )
        items.append(
            dict(inputs=torch.randint(0, 255, (3, 64, 64), generator=generator, dtype=torch.uint8), data_samples=sample)
        )
    record = Record()
    hook = dict(
        type='mmuniqrnet.LossBalanceHook',
        tasks=dict(box=('loss_cls', 'loss_bbox'), mask='loss_mask'),
        strategy=dict(type='magnitude', decay=0.0),
    )
    runner = Runner(
        model=cfg,
        work_dir=str(tmp_path),
        train_dataloader=dict(
            dataset=items,
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        custom_hooks=[hook, record],
        default_scope='mmdet',
        experiment_name=uuid.uuid4().hex,
        log_level='WARNING',
    )
    runner.train()
    first, second = record.outputs
    box, mask = first['loss_cls'] + first['loss_bbox'], first['loss_mask']
    assert box > 0 and mask > 0
    assert first['loss'] == pytest.approx(first['loss_rpn_cls'] + first['loss_rpn_bbox'] + box + mask, rel=1e-5)
    w_box, w_mask = 2 * mask / (box + mask), 2 * box / (box + mask)
    assert (second['balance/weight_box'], second['balance/weight_mask']) == pytest.approx((w_box, w_mask), rel=1e-5)
    expected = (
        second['loss_rpn_cls']
        + second['loss_rpn_bbox']
        + w_box * (second['loss_cls'] + second['loss_bbox'])
        + w_mask * second['loss_mask']
    )
    assert second['loss'] == pytest.approx(expected, rel=1e-5)
    assert second['loss'] != pytest.approx(sum(v for k, v in second.items() if k.startswith('loss_')), rel=1e-3)


def test_with_a_delay_the_weights_follow_one_step_later(tmp_path):
    """The weights of step t + 1 are those that without delay belong to step t, if the losses do not depend on them."""
    balance = dict(type='LossBalanceHook', strategy='magnitude', tasks=dict(box='loss_box', mask='loss_mask'))
    seen = {}
    for delay in (0, 1):
        runner = samples.make_runner(
            tmp_path / str(delay),
            samples.poisoned(),
            [balance | dict(delay=delay)],
            iters=5,
            wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        )
        runner.train()
        seen[delay] = runner.message_hub.get_scalar('train/balance/weight_box').data[0].tolist()
    assert seen[1][0] == seen[1][1] == seen[0][0] == 1
    assert seen[1][2:] == pytest.approx(seen[0][1:4])
    assert len(set(seen[0])) == 5


def test_with_a_delay_a_resumed_training_goes_on_as_if_not_interrupted(tmp_path):
    options = dict(
        wrapper=dict(type='ClippingOptimWrapper', optimizer=dict(type='AdamW', lr=0.05, fused=True)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False)),
    )
    hooks = [
        dict(type='LossBalanceHook', strategy='uncertainty', tasks=dict(box='loss_box', mask='loss_mask'), delay=1),
        dict(type='CheckLossHook', delay=1),
    ]
    whole = samples.make_runner(tmp_path / 'whole', samples.poisoned(), hooks, iters=6, **options)
    whole.train()
    resumed = samples.make_runner(
        tmp_path / 'part',
        samples.poisoned(),
        hooks,
        load_from=str(tmp_path / 'whole' / 'iter_3.pth'),
        resume=True,
        **options,
    )
    resumed.train()
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)

"""LossBalanceHook in real runs, beside what else changes a training: models, hooks, compilation, ranks, a delay."""

import copy
import pickle
import uuid

import pytest
import torch
from helpers import poisoned as samples
from helpers.balance_samples import (
    ALL_STRATEGIES,
    Record,
    TwoTasks,
    balance_cfg,
    make_runner,
    raw_losses,
    seeded_model,
    train,
)
from helpers.two_ranks import run_two_ranks
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmuniqrnet.utils.mmcv_ops import mmcv_ops


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

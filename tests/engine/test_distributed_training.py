"""Two ranks train as one process with the joint batches does."""

import copy
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_model import backbone_config, head_config, item, rectangle, tiny_model
from helpers.two_ranks import run_two_ranks
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmuniqrnet.engine import prepare_distributed
from mmuniqrnet.engine.balance.gradient_norms import gradient_norms

JOINT_BATCH = 4
SIZE = (48, 64)
CORNER = dict(type='ReferDataPreprocessor', canvas_size=64, placement='corner')
BALANCE = dict(
    type='LossBalanceHook', tasks=dict(box='loss_box', mask='loss_mask', aux='loss_aux'), shared_parameters='neck'
)
EMA = dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.2, update_buffers=True)
# What the items of each step are annotated with; rank 0 has the first and the third.
STEPS = (
    ('box', 'mask', 'box', 'nothing'),
    ('both', 'no target', 'both', 'no target'),
    ('mask', 'box', 'mask', 'both'),
    ('both', 'unknown', 'box', 'unknown'),
    ('unknown', 'unknown', 'unknown', 'unknown'),
    ('mask', 'both', 'no target', 'both'),
)
CASES = {
    'plain': dict(),
    'accumulated': dict(wrapper=dict(accumulative_counts=2)),
    'recomputed': dict(model=dict(backbone=backbone_config(with_cp=True)), strategy='uncertainty'),
    'uncertainty': dict(strategy='uncertainty'),
    'averaged': dict(hooks=[EMA], lr=0.005),
    'averaged, accumulated': dict(strategy='magnitude', hooks=[EMA], lr=0.005, wrapper=dict(accumulative_counts=3)),
    'gradnorm': dict(strategy='gradnorm'),
    'gradnorm, accumulated': dict(strategy='gradnorm', wrapper=dict(accumulative_counts=2)),
    'magnitude': dict(strategy=dict(type='magnitude', decay=0.5)),
    'all losses': dict(
        model=dict(
            head=head_config(
                loss_mask_dice=dict(type='LovaszMaskLoss'),
                loss_consistency=dict(type='BoxMaskConsistencyLoss'),
                deep_supervision=True,
            )
        ),
    ),
    'losses left out': dict(model=dict(head=head_config(loss_aux=None, loss_score=None))),
    'boxes only': dict(model=dict(head=head_config(mask_branch=None, pixel_guidance=None))),
    'masks only': dict(model=dict(head=head_config(box_branch=None))),
}


def annotated(kind: str, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    x, y, width, height = (int(rng.integers(low, high)) for low, high in ((0, 30), (0, 20), (8, 30), (8, 25)))
    box, mask = [x, y, x + width, y + height], rectangle(*SIZE, x, y, x + width, y + height)
    given = dict(
        box=dict(boxes=[box], has_mask=False),
        mask=dict(boxes=[box], masks=[mask], has_box=False),
        both=dict(boxes=[box], masks=[mask]),
        unknown=dict(boxes=[box], has_box=False, has_mask=False),
    )
    none = dict(boxes=np.zeros((0, 4)), masks=np.zeros((0, *SIZE)))
    text = f'the {("red", "blue", "green")[seed % 3]} {("circle", "star")[seed % 2]}'
    return item(*SIZE, text=text, seed=seed, **given.get(kind, none))


class Record(Hook):
    """The losses of each iteration, and the gradients of each step."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.losses, self.gradients = [], []

    def before_train(self, runner: Runner) -> None:
        model = getattr(runner.model, 'module', runner.model)

        def remember(optimizer, args, kwargs) -> None:
            found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            self.gradients.append(copy.deepcopy(found))

        runner.optim_wrapper.optimizer.register_step_pre_hook(remember)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses.append({name: float(value.detach()) for name, value in outputs.items()})


def train(
    folder: Path, model: dict | None = None, strategy=None, hooks=(), wrapper: dict | None = None, lr: float = 0.0
) -> dict:
    """One epoch on the items, by as many processes as there are; what came out of it in this one."""
    record = Record()
    cfg = Config(dict(launcher='pytorch' if get_world_size() > 1 else 'none'))
    prepare_distributed(cfg)
    kinds = [kind for step in STEPS for kind in step]
    network = tiny_model(data_preprocessor=CORNER, **(model or {}))
    network._is_init = True  # the gates stay open
    runner = Runner(
        model=network,
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=[annotated(kind, seed) for seed, kind in enumerate(kinds)],
            batch_size=JOINT_BATCH // get_world_size(),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr)) | (wrapper or {}),
        custom_hooks=[*([BALANCE | dict(strategy=strategy)] if strategy else []), *copy.deepcopy(hooks), record],
        default_scope='mmuniqrnet',
        experiment_name=uuid.uuid4().hex,
        log_level='WARNING',
        launcher=cfg.launcher,
        cfg=cfg,
    )
    runner.train()
    balance = next((hook.weights for hook in runner.hooks if hasattr(hook, 'strategy')), {})
    averaged = next((hook.ema_model.state_dict() for hook in runner.hooks if hasattr(hook, 'ema_model')), {})
    return dict(
        wrapped=type(runner.model).__name__,
        losses=record.losses,
        gradients=record.gradients,
        weights={
            name: value.detach() for name, value in getattr(runner.model, 'module', runner.model).named_parameters()
        },
        balance=balance,
        averaged=averaged,
    )


def train_rank(rank: int, folder: str) -> None:
    found = {name: train(Path(folder, 'two'), **case) for name, case in CASES.items()}
    weight = torch.ones(2, requires_grad=True)
    losses = dict(of_both=(weight * torch.tensor([[3.0, 0.0], [0.0, 4.0]][rank])).sum(), of_one=weight.sum() * rank)
    found['norms'] = gradient_norms(losses, [weight])
    torch.save(found, f'{folder}/rank{rank}.pth')


@pytest.fixture(scope='module')
def two_ranks(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp('ranks')
    run_two_ranks(train_rank, folder)
    return [torch.load(folder / f'rank{rank}.pth', weights_only=False) for rank in (0, 1)]


def assert_close(found: dict, expected: dict, what: str, own: float, whole: float) -> None:
    """Each tensor differs by at most these parts of its own norm and of the norm of all."""
    assert found.keys() == expected.keys()
    total = sum(float(value.double().square().sum()) for value in expected.values()) ** 0.5
    for name, value in expected.items():
        error, norm = float((found[name] - value).double().norm()), float(value.double().norm())
        assert error <= own * norm + whole * total, f'{what}, {name}: differs by {error}, norm {norm} of {total}'


@pytest.mark.parametrize('case', CASES)
def test_two_ranks_train_as_one_process_with_the_joint_batches(case, two_ranks, tmp_path):
    first, second = (rank[case] for rank in two_ranks)
    alone = train(tmp_path, **CASES[case])
    assert first['wrapped'] == 'MMDistributedDataParallel' and alone['wrapped'] == 'UniQRNet'
    # Each rank logs its part of a loss, whose mean is the joint loss.
    assert len(alone['losses']) == len(STEPS)
    for step, (one, other, joint) in enumerate(zip(first['losses'], second['losses'], alone['losses'])):
        mean = {name: (one[name] + other[name]) / 2 for name in one}
        assert mean == pytest.approx(joint, rel=5e-4, abs=1e-6), step
    assert (
        len(first['gradients'])
        == len(alone['gradients'])
        == len(STEPS) // CASES[case].get('wrapper', {}).get('accumulative_counts', 1)
    )
    # At the same weights: small gradients that almost cancel, such as those of position biases, magnify what a step
    # leaves of rounding, and two orders of the items in one process differ as much.
    if not CASES[case].get('lr'):
        for step, (found, expected) in enumerate(zip(first['gradients'], alone['gradients'])):
            assert_close(found, expected, f'gradients of step {step}', own=1e-3, whole=1e-6)
    for what in ('weights', 'averaged'):
        assert_close(first[what], alone[what], what, own=1e-4, whole=1e-6)
        assert all(torch.equal(value, second[what][name]) for name, value in first[what].items())
    assert first['balance'] == second['balance'] == pytest.approx(alone['balance'], rel=1e-4)
    if CASES[case].get('strategy'):
        assert any(abs(weight - 1) > 1e-3 for weight in alone['balance'].values())


def test_gradient_norms_are_those_of_the_joint_batch(two_ranks):
    for rank in two_ranks:
        assert rank['norms'].tolist() == pytest.approx([(1.5**2 + 2**2) ** 0.5, 0.5**0.5])

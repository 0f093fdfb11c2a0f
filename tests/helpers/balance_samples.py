"""A two-task model small enough to recompute by hand, and its training with LossBalanceHook in mmengine's Runner."""

import uuid

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from mmuniqrnet.engine import LossBalanceHook

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

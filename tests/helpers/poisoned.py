"""A model of two losses, one of which is not finite in chosen calls, and runs of mmengine's Runner with it."""

import uuid

import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

BATCH = 2


class Poisoned(BaseModel):
    """Two heads on one layer; ``bad_losses`` and ``bad_gradients`` are the calls, from 1, that go wrong."""

    def __init__(self, bad_losses: tuple[int, ...] = (), bad_gradients: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.shared, self.box, self.mask = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 1)
        self.bad_losses, self.bad_gradients, self.calls = bad_losses, bad_gradients, 0

    def forward(self, inputs, data_samples=None, mode='tensor') -> dict[str, torch.Tensor]:
        self.calls += 1
        features = torch.tanh(self.shared(torch.stack(inputs)))
        box, mask = self.box(features), self.mask(features)
        factor = float('inf') if self.calls in self.bad_losses else 1.0
        # The root of zero is zero, and its gradient is not finite.
        extra = (mask * 0).sum().sqrt() if self.calls in self.bad_gradients else 0.0
        return dict(
            loss_box=box.square().mean() + box.abs().mean(), loss_mask=(mask - 1).square().mean() * factor + extra
        )


def poisoned(*bad_losses: int, bad_gradients: tuple[int, ...] = ()) -> Poisoned:
    torch.manual_seed(0)
    return Poisoned(bad_losses, bad_gradients)


def items(rank: int = 0, count: int = 64) -> list[dict]:
    """Items as a data loader of this package gives them, with ids and text."""
    generator = torch.Generator().manual_seed(7 + rank)
    found = []
    for number in range(count):
        about = dict(dataset='refcoco', split='train', sent_id=100 * rank + number, img_id=number, text=f'cup {number}')
        found.append(dict(inputs=torch.randn(3, generator=generator), data_samples=DetDataSample(metainfo=about)))
    return found


def make_runner(work_dir, model, hooks=(), *, iters=6, wrapper=None, rank=0, **options) -> Runner:
    """``wrapper`` is an optimiser wrapper, or options of mmengine's."""
    if not isinstance(wrapper, OptimWrapper):
        wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.05)) | (wrapper or {})
    return Runner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=items(rank),
            batch_size=BATCH,
            sampler=dict(type='InfiniteSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iters),
        optim_wrapper=wrapper,
        custom_hooks=list(hooks),
        **dict(default_scope='mmuniqrnet', experiment_name=uuid.uuid4().hex, log_level='WARNING') | options,
    )


def train_plainly(steps: list[list[int]]) -> tuple[Poisoned, torch.optim.Optimizer]:
    """The same training in plain torch: each step is of the batches, from 1, that it accumulates."""
    model, data = poisoned(), items()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    for batches in steps:
        optimizer.zero_grad()
        for number in batches:
            losses = model([item['inputs'] for item in data[BATCH * (number - 1) : BATCH * number]])
            (sum(losses.values()) / len(batches)).backward()
        optimizer.step()
    return model, optimizer

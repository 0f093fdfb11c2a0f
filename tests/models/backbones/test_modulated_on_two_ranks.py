"""Gated backbones under DistributedDataParallel, which waits for the gradient of every parameter that is trained."""

import pytest
import torch
from helpers.modulated_samples import IMAGES, SENTENCES, modulated
from helpers.two_ranks import run_two_ranks
from mmengine.registry import init_default_scope
from torch.nn.parallel import DistributedDataParallel

BODIES = (
    dict(type='mmdet.ResNet', depth=18, base_channels=8, out_indices=(0, 1, 2), frozen_stages=1),
    dict(
        type='TransformersBackbone',
        model=dict(
            model_type='swin',
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            drop_path_rate=0.0,
        ),
    ),
)


def gradients(body: dict, rows: slice, parallel: bool) -> dict[str, torch.Tensor]:
    """Of the mean over a batch, in the second of two steps: DDP looks for what is missing in the first one."""
    init_default_scope('mmuniqrnet')
    model = modulated(body).train()
    wrapped = DistributedDataParallel(model) if parallel else model
    for _ in range(2):
        model.zero_grad()
        maps = wrapped(IMAGES[rows], SENTENCES[0, rows])
        sum(x.square().mean(dim=(1, 2, 3)).mean() for x in maps).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def save_gradients(rank: int, folder: str) -> None:
    found = [gradients(body, slice(rank, rank + 1), parallel=True) for body in BODIES]
    torch.save(found, f'{folder}/{rank}.pt')


@pytest.mark.slow
def test_two_ranks_have_the_gradients_of_the_joint_batch(tmp_path):
    run_two_ranks(save_gradients, tmp_path)
    ranks = [torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)]
    for i, body in enumerate(BODIES):
        expected = gradients(body, slice(None), parallel=False)
        for found in ranks:
            assert found[i].keys() == expected.keys()
            for name, gradient in expected.items():
                error = (found[i][name] - gradient).norm()
                assert error <= 1e-4 * gradient.norm() + 1e-7, name

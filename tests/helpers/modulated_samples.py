"""QueryModulated at a small size, and what it is asked about."""

import torch
from torch import nn

from mmuniqrnet.registry import MODELS

from .tiny_model import TEXT_DIM, open_gates

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
SENTENCES = torch.randn(3, 2, TEXT_DIM, generator=torch.Generator().manual_seed(1))


def modulated(body: dict | nn.Module, seed: int = 0, opened: bool = True, **changes) -> nn.Module:
    """A QueryModulated in evaluation mode; its gates are opened, as after training, unless ``opened=False``."""
    torch.manual_seed(seed)
    config = dict(type='QueryModulated', body=body, text_dim=TEXT_DIM, gate_reduction=4, gate_rank=4)
    model = MODELS.build(config | changes)
    return (open_gates(model) if opened else model).eval()


def differing(one, other) -> list[int]:
    """The numbers of the maps that differ by more than rounding, relative to their size."""
    return [i for i, (a, b) in enumerate(zip(one, other)) if (a - b).norm() > 1e-4 * b.norm()]


def assert_close(one, other) -> None:
    """Two tuples of maps are equal but for rounding."""
    assert [x.shape for x in one] == [x.shape for x in other]
    for a, b in zip(one, other):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)

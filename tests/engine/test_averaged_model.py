"""FastExpMomentumEMA averages as mmdet's ExpMomentumEMA does, and continues its checkpoints."""

from copy import deepcopy

import pytest
import torch
from mmdet.models.layers import ExpMomentumEMA
from torch import nn

from mmuniqrnet.engine import FastExpMomentumEMA


def models() -> list[nn.Module]:
    """A network after each of six steps."""
    torch.manual_seed(0)
    model, found = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), []
    for _ in range(6):
        for value in model.state_dict().values():
            value.add_(torch.randn_like(value) if value.is_floating_point() else 1)
        found.append(deepcopy(model))
    return found


@pytest.mark.parametrize('options', [{}, dict(update_buffers=True), dict(interval=2, update_buffers=True)])
def test_it_is_the_average_of_mmdet(options):
    first, *others = models()
    ours, theirs = (kind(first, momentum=0.1, gamma=3, **options) for kind in (FastExpMomentumEMA, ExpMomentumEMA))
    for number, model in enumerate(others):
        ours.update_parameters(model)
        theirs.update_parameters(model)
        if number == 2:  # a resumed training
            resumed = FastExpMomentumEMA(first, momentum=0.1, gamma=3, **options)
            resumed.load_state_dict(theirs.state_dict())
            ours = resumed
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)

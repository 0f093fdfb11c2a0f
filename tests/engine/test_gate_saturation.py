"""The hook in mmengine's own loop, on a model whose gates are set by hand."""

import uuid
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny_model import TEXT_DIM, backbone_config, tiny_model
from mmengine.logging import MessageHub
from torch import nn

from mmuniqrnet.engine import GateSaturationHook
from mmuniqrnet.models.layers import QueryDynamicAttention
from mmuniqrnet.utils.errors import UserError


class Network(nn.Module):
    """Two gated parts of known gates: the logits of channel and of spatial gates are constants."""

    def __init__(self):
        super().__init__()
        self.backbone, self.neck = (
            nn.ModuleDict(dict(gates=nn.ModuleList([QueryDynamicAttention(4, 2)]))) for _ in range(2)
        )

    def forward(self, x, sentence):
        return [part.gates[0](x, sentence) for part in (self.backbone, self.neck)]


def runner(model, iteration=0):
    hub = MessageHub.get_instance(f'gates_{uuid.uuid4()}')
    return SimpleNamespace(model=model, message_hub=hub, iter=iteration)


def scalars(run):
    return {name: values.current() for name, values in run.message_hub.log_scalars.items()}


def step(hook, run, forward):
    hook.before_train_iter(run, run.iter)
    forward()
    hook.after_train_iter(run, run.iter)
    run.iter += 1


def fixed(gate, values):
    """Replace a gate's output."""
    gate.register_forward_hook(lambda module, args, out: torch.as_tensor(values).expand_as(out), prepend=True)


def test_the_shares_are_counted_by_part_and_by_kind():
    model = Network()
    fixed(model.backbone.gates[0].channel, [0.01, 0.99, 0.5, 0.019])
    fixed(model.neck.gates[0].spatial, [[0.981], [0.979], [0.021]])
    run, hook = runner(model), GateSaturationHook(interval=1)
    step(hook, run, lambda: model(torch.randn(2, 3, 4), torch.randn(2, 2)))
    found = scalars(run)
    assert found.pop('train/gates/saturated_backbone') == pytest.approx(3 / 4)
    assert found.pop('train/gates/saturated_spatial_neck') == pytest.approx(1 / 3)
    assert found == {'train/gates/saturated_spatial_backbone': 0, 'train/gates/saturated_neck': 0}


def test_only_the_logged_iterations_are_watched():
    model = Network()
    run, hook = runner(model), GateSaturationHook(interval=3)
    watched = []
    for _ in range(6):
        step(
            hook,
            run,
            lambda: (
                watched.append(sum(len(module._forward_hooks) for module in model.modules()))
                or model(torch.randn(2, 3, 4), torch.randn(2, 2))
            ),
        )
    assert watched == [0, 0, 4, 0, 0, 4]
    assert len(run.message_hub.log_scalars['train/gates/saturated_neck'].data[0]) == 2
    assert not any(module._forward_hooks for module in model.modules())


def test_several_passes_of_one_iteration_count_together():
    model = Network()
    run, hook = runner(model), GateSaturationHook(interval=1)
    values = iter([[1.0, 1.0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]])
    model.neck.gates[0].channel.register_forward_hook(
        lambda module, args, out: torch.tensor(next(values)).expand_as(out), prepend=True
    )
    step(hook, run, lambda: [model(torch.randn(2, 3, 4), torch.randn(2, 2)) for _ in range(2)])
    assert scalars(run)['train/gates/saturated_neck'] == pytest.approx(1 / 4)


def test_a_model_without_gates_logs_nothing():
    model = tiny_model(backbone=backbone_config(gated_stages=())).backbone
    run, hook = runner(model), GateSaturationHook(interval=1)
    step(hook, run, lambda: model(torch.randn(1, 3, 32, 32), torch.randn(1, TEXT_DIM)))
    assert scalars(run) == {}


def test_an_interval_of_none_is_refused():
    with pytest.raises(UserError, match='interval is a number of iterations, 1 or more, not 0'):
        GateSaturationHook(interval=0)

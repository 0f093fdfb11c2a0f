"""Bf16OptimWrapper: float32 without a GPU, bfloat16 with one, and gradient accumulation and clipping in both."""

import pytest
import torch
from helpers.poisoned import Poisoned, make_runner, poisoned, train_plainly
from mmengine.optim import OptimWrapper
from torch import nn

from mmuniqrnet.engine import Bf16OptimWrapper, ClippingOptimWrapper, gpu_has_bfloat16

needs_bf16 = pytest.mark.skipif(not gpu_has_bfloat16(), reason='needs a GPU with bfloat16')
WRAPPER = dict(type='Bf16OptimWrapper')


class Looking(Poisoned):
    """Keeps the type in which its matrix products are computed."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.computed_in = self.shared(torch.stack(inputs)).dtype
        return super().forward(inputs, data_samples, mode)


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without GPU')
def test_without_a_gpu_it_trains_in_float32_and_says_so(tmp_path, capfd):
    torch.manual_seed(0)
    runner = make_runner(tmp_path, Looking(), iters=2, wrapper=WRAPPER, log_level='INFO')
    runner.train()
    said = capfd.readouterr()
    assert 'in float32, because there is no GPU that computes in bfloat16' in said.out + said.err
    assert runner.model.computed_in == torch.float32
    for ours, theirs in zip(runner.model.parameters(), train_plainly([[1], [2]])[0].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


@needs_bf16
def test_with_a_gpu_it_computes_in_bfloat16_and_keeps_weights_in_float32(tmp_path, capfd):
    torch.manual_seed(0)
    runner = make_runner(tmp_path, Looking(), iters=4, wrapper=WRAPPER, log_level='INFO')
    runner.train()
    said = capfd.readouterr()
    assert 'the training is in bfloat16 on ' in said.out + said.err
    assert runner.model.computed_in == torch.bfloat16
    state = runner.optim_wrapper.optimizer.state_dict()['state'].values()
    assert {value.dtype for value in runner.model.parameters()} == {torch.float32}
    assert {one['exp_avg'].dtype for one in state} == {torch.float32}
    for ours, theirs in zip(
        runner.model.parameters(), train_plainly([[1], [2], [3], [4]])[0].parameters(), strict=True
    ):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=0, atol=0.05)


def test_options_are_those_of_mmengine():
    model = poisoned()
    optimizer = torch.optim.AdamW(model.parameters())
    wrapper = Bf16OptimWrapper(optimizer, accumulative_counts=4, clip_grad=dict(max_norm=0.5))
    for _ in range(4):
        assert not any(value.any() for value in optimizer.state)
        wrapper.update_params(sum(model([torch.ones(3)]).values()) * 1e3)
    assert all(state['step'] == 1 for state in optimizer.state.values())
    # The first moment of a clipped gradient: (1 - 0.9) x its norm, at most.
    total = torch.stack([state['exp_avg'].norm() for state in optimizer.state.values()]).norm()
    assert float(total) == pytest.approx(0.1 * 0.5, rel=1e-3)


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('max_norm', [0.01, 1e6])
def test_clipping_gives_the_weights_of_mmengines(fused, max_norm):
    trained = []
    for kind in (OptimWrapper, ClippingOptimWrapper):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        wrapper = kind(torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused), clip_grad=dict(max_norm=max_norm))
        for _ in range(4):
            wrapper.update_params((model(torch.randn(5, 3)) - 3).square().sum())
        trained.append([parameter.detach() for parameter in model.parameters()])
        assert all(parameter.grad is None for parameter in model.parameters())
    for ours, theirs in zip(*trained, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)

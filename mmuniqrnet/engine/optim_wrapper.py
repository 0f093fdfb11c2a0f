"""Wrappers of the optimiser: clipping without waiting for the device, and bfloat16 where the GPU has it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from mmuniqrnet.registry import OPTIM_WRAPPERS


def gpu_has_bfloat16() -> bool:
    """Whether there is a CUDA GPU that computes in bfloat16 (NVIDIA's since Ampere), rather than emulates it."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


@OPTIM_WRAPPERS.register_module()
class ClippingOptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper, which clips gradients by their norm in fewer operations, and without reading the norm.

    With a fused optimiser, the gradients are divided in the step itself. If :class:`CheckLossHook` has computed the
    norm already, it is not computed again. Other ways of clipping (``type='value'``, other norms) are mmengine's.

    The norm is logged as ``grad_norm``. mmengine reads it as a number in every step, and so does this wrapper, unless
    :class:`LossHistoryHook` takes it from ``gradient_norm``.

    Args:
        optimizer: As OptimWrapper's, and so are the others.
        accumulative_counts: Number of batches whose gradients make a step.
        clip_grad: Arguments of ``torch.nn.utils.clip_grad_norm_``, such as ``dict(max_norm=1.0)``.

    Attributes:
        gradient_norm: The norm of all gradients of this step, once it is known; None before and if nothing is clipped.
        reads_norm: Whether the wrapper logs the norm itself.
    """

    def __init__(self, optimizer: Optimizer, accumulative_counts: int = 1, clip_grad: dict | None = None) -> None:
        super().__init__(optimizer, accumulative_counts=accumulative_counts, clip_grad=clip_grad)
        self.gradient_norm: Tensor | None = None
        self.reads_norm = True
        self._by_norm = bool(clip_grad) and set(self.clip_grad_kwargs) == {'max_norm'}

    def step(self, **kwargs: Any) -> None:
        """Clip, and make the step."""
        super().step(**kwargs)
        if not self.clip_grad_kwargs:
            self.gradient_norm = None
        if hasattr(self.optimizer, 'grad_scale'):
            del self.optimizer.grad_scale

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        """A backward pass, and a step if it is time for one."""
        self.gradient_norm = None
        super().update_params(loss, step_kwargs, zero_kwargs)

    def _clip_grad(self) -> None:
        if not self._by_norm:
            super()._clip_grad()
            return
        gradients = [p.grad for group in self.optimizer.param_groups for p in group['params'] if p.grad is not None]
        if not gradients:
            return
        if self.gradient_norm is None:
            self.gradient_norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        excess = ((self.gradient_norm + 1e-6) / self.clip_grad_kwargs['max_norm']).clamp(min=1.0)
        if getattr(self.optimizer, '_step_supports_amp_scaling', False):
            self.optimizer.grad_scale = excess
        else:
            torch._foreach_div_(gradients, excess)
        if self.reads_norm:
            self.message_hub.update_scalar('train/grad_norm', float(self.gradient_norm))


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(ClippingOptimWrapper):
    """The same, with the forward pass under bfloat16 autocast where the GPU computes in bfloat16.

    Elsewhere, on a CPU as well, it trains in float32; which of the two is logged once. Weights, gradients and the state
    of the optimiser are float32 in both cases. bfloat16 has the range of float32, so that, unlike with mmengine's
    ``AmpOptimWrapper``, there is no loss scaler and no step omitted because of it.

    Args:
        optimizer: As OptimWrapper's, and so are the others.
        accumulative_counts: Number of batches whose gradients make a step.
        clip_grad: Arguments of ``torch.nn.utils.clip_grad_norm_``, such as ``dict(max_norm=1.0)``.
    """

    def __init__(self, optimizer: Optimizer, accumulative_counts: int = 1, clip_grad: dict | None = None) -> None:
        super().__init__(optimizer, accumulative_counts=accumulative_counts, clip_grad=clip_grad)
        self.bfloat16 = gpu_has_bfloat16()
        if self.bfloat16:
            said = f'bfloat16 on {torch.cuda.get_device_name()}'
        else:
            said = 'float32, because there is no GPU that computes in bfloat16'
        print_log(f'Bf16OptimWrapper: the training is in {said}', 'current')

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of the forward pass."""
        precision = torch.autocast('cuda', torch.bfloat16) if self.bfloat16 else nullcontext()
        with super().optim_context(model), precision:
            yield

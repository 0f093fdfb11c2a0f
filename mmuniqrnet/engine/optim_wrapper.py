"""Training in bfloat16 where the GPU has it, by a config that also trains without."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import nn
from torch.optim import Optimizer

from mmuniqrnet.registry import OPTIM_WRAPPERS


def gpu_has_bfloat16() -> bool:
    """Whether there is a CUDA GPU that computes in bfloat16 (NVIDIA's since Ampere), rather than emulates it."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper, with the forward pass under bfloat16 autocast where the GPU computes in bfloat16.

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

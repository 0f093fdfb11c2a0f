"""The precision of float32 matrix products on a GPU, as an option of a config; mmengine has none."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.errors import UserError

PRECISIONS = ('highest', 'high', 'medium')


@HOOKS.register_module()
class MatmulPrecisionHook(Hook):
    """Sets ``torch.set_float32_matmul_precision`` for the run, and sets it back at the end.

    It concerns float32 matrix products on a CUDA GPU, in training, validation and test alike; without a GPU it does
    nothing, and bfloat16 products are not concerned. (Convolutions use TF32 by torch's own default.)

    Args:
        precision: ``'high'`` uses TF32 (10 bits of mantissa, float32's range) where the GPU has it; ``'highest'`` is
            float32, torch's default; ``'medium'`` allows bfloat16.

    Raises:
        UserError: There is no such precision.
    """

    def __init__(self, precision: str = 'high') -> None:
        if precision not in PRECISIONS:
            raise UserError(f'MatmulPrecisionHook: precision is {", ".join(PRECISIONS)}, not {precision!r}.')
        self.precision = precision
        self._before: str | None = None

    def before_run(self, runner: Runner) -> None:
        if torch.cuda.is_available():
            self._before = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision(self.precision)

    def after_run(self, runner: Runner) -> None:
        if self._before is not None:
            torch.set_float32_matmul_precision(self._before)
            self._before = None

"""MatmulPrecisionHook: TF32 for the time of a run, on a GPU."""

import pytest
import torch
from helpers.poisoned import make_runner, poisoned
from mmengine.hooks import Hook

from mmuniqrnet.engine import MatmulPrecisionHook
from mmuniqrnet.utils.errors import UserError


class Watch(Hook):
    """Keeps the precision in training, and a product of numbers that TF32 can not hold."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.precision = torch.get_float32_matmul_precision()
        device = next(runner.model.parameters()).device
        self.product = float(
            torch.full((64, 64), 1 + 2.0**-20, device=device).matmul(torch.eye(64, device=device))[0, 0]
        )


@pytest.mark.parametrize('precision', ['high', 'highest'])
def test_precision_of_a_run_and_after_it(precision, tmp_path):
    before, watch = torch.get_float32_matmul_precision(), Watch()
    make_runner(tmp_path, poisoned(), [dict(type='MatmulPrecisionHook', precision=precision), watch], iters=1).train()
    assert torch.get_float32_matmul_precision() == before == 'highest'
    on_gpu = torch.cuda.is_available()
    assert watch.precision == (precision if on_gpu else before)
    tf32 = on_gpu and precision == 'high' and torch.cuda.get_device_capability() >= (8, 0)
    assert (watch.product == 1.0) == tf32


def test_unknown_precision():
    with pytest.raises(UserError, match="precision is highest, high, medium, not 'tf32'"):
        MatmulPrecisionHook('tf32')

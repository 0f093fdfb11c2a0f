"""What some tests need, so that they are skipped by name without it."""

import pytest
import torch
from mmengine.utils import digit_version

from mmuniqrnet.utils.mmcv_ops import mmcv_ops

needs_ops = pytest.mark.skipif(mmcv_ops() != 'compiled', reason='needs mmcv with compiled ops: `make env OPS=1`')


def needs_torch(version: str, reason: str) -> pytest.MarkDecorator:
    """A mark for tests that need this version of torch or a later one."""
    return pytest.mark.skipif(digit_version(torch.__version__) < digit_version(version), reason=reason)

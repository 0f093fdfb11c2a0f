import importlib.util

import pytest

from mmuniqrnet.models import TimmBackbone
from mmuniqrnet.utils.errors import UserError


@pytest.mark.skipif(importlib.util.find_spec('timm') is not None, reason='timm is installed')
def test_without_timm_the_extra_is_named():
    with pytest.raises(UserError, match=r"pip install 'mmuniqrnet\[timm\]'"):
        TimmBackbone('resnet18')

from pathlib import Path

import pytest

from mmuniqrnet.datasets.refshapes import make_refshapes


@pytest.fixture(scope='session')
def few_shapes(tmp_path_factory) -> Path:
    """RefShapes of a few images, which no test changes."""
    root = tmp_path_factory.mktemp('engine') / 'refshapes'
    make_refshapes(str(root), num_images=dict(train=8, val=3, testA=2, testB=2), workers=1)
    return root

from pathlib import Path

import pytest
from web_samples import make_weights

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.utils.errors import UserError


@pytest.fixture(scope='session')
def weights(tmp_path_factory) -> Path:
    """The shipped weights; where there are none, random ones of the same network."""
    from mmuniqrnet.apis import shipped_weights

    try:
        return shipped_weights()
    except UserError:
        return make_weights(tmp_path_factory.mktemp('weights') / 'random.pth')


@pytest.fixture(scope='session')
def inferencer(weights) -> UniQRNetInferencer:
    return UniQRNetInferencer(weights=weights, device='cpu', show_progress=False)


@pytest.fixture(scope='session')
def scene(tmp_path_factory):
    """An example as the page has them: a path and its phrases."""
    from mmuniqrnet.web.examples import write_examples

    return write_examples(tmp_path_factory.mktemp('scenes'), count=1)[0]

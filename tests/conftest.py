import os
from pathlib import Path

import pytest
import torch

# The tests' tensors are so small that threads waiting for each other take most of the time; the same for subprocesses.
torch.set_num_threads(1)
os.environ.setdefault('OMP_NUM_THREADS', '1')

SHARED = Path(__file__).parents[2] / 'shared'


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--golden',
        metavar='FILE',
        default=None,
        help='numbers of the published modules to compare with (default: ../shared/golden/qrnet_small.pt)',
    )


@pytest.fixture(scope='session')
def golden_file(request: pytest.FixtureRequest) -> Path:
    """The file of published numbers; the test is skipped where there is none and none was asked for."""
    given = request.config.getoption('--golden')
    path = Path(given) if given else SHARED / 'golden' / 'qrnet_small.pt'
    if not path.is_file():
        if given:
            pytest.fail(f'--golden {given}: there is no such file', pytrace=False)
        pytest.skip('needs ../shared/golden: qrnet_small.pt')
    return path

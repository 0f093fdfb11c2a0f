import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.paths import SHARED
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope, init_default_scope
from yapf.yapflib import yapf_api

from mmuniqrnet.visualization import ReferringVisualizer

# The tests' tensors are so small that threads waiting for each other take most of the time; the same for subprocesses.
torch.set_num_threads(1)
os.environ.setdefault('OMP_NUM_THREADS', '1')


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--golden',
        metavar='FILE',
        default=None,
        help='numbers of the published modules to compare with (default: ../shared/golden/qrnet_small.pt)',
    )


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What a test draws does not depend on the tests that ran before it in the same process."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture(scope='session', autouse=True)
def formatted_once() -> Iterator[None]:
    """mmengine formats the config anew for every checkpoint, which takes longer than the step of training before it.

    The same text formatted a second time is the same text, so it is remembered.
    """
    known: dict[str, tuple[str, bool]] = {}
    original = yapf_api.FormatCode

    def format_code(text: str, *args: object, **kwargs: object) -> tuple[str, bool]:
        key = repr((text, args, kwargs))
        if key not in known:
            known[key] = original(text, *args, **kwargs)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, 'FormatCode', format_code)
        yield


@pytest.fixture(autouse=True)
def no_default_scope() -> Iterator[None]:
    """A runner sets the process's default scope and its visualizer; the next test must not inherit them.

    A visualizer writes into the folder of the run that built it first, so a second run would leave no event file.
    """
    yield
    DefaultScope._instance_dict.clear()
    ReferringVisualizer._instance_dict.clear()


@pytest.fixture(autouse=True)
def no_closed_log_files() -> None:
    """The server sets up Python's logging, which closes the log files of all runners that tests had before.

    mmengine still writes initialisations into them.
    """
    for logger in MMLogger._instance_dict.values():
        closed = [one for one in logger.handlers if isinstance(one, logging.FileHandler) and one.stream is None]
        for handler in closed:
            logger.removeHandler(handler)


@pytest.fixture
def mmuniqrnet_scope(no_default_scope: None) -> None:
    """The default scope of our configs, as in a training."""
    init_default_scope('mmuniqrnet')


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

from collections.abc import Iterator

import pytest
from warm_shell import WarmShell


@pytest.fixture(scope='session')
def shell() -> Iterator[WarmShell]:
    """One for all, for its start takes longer than most of what it runs; whoever uses it enters a folder first."""
    shell = WarmShell()
    yield shell
    shell.close()

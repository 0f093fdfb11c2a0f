"""A transform that fails on rank 1, for tests of what a job does then. Config files import it by its path."""

import os
import signal
import time
from pathlib import Path

from mmuniqrnet.registry import TRANSFORMS
from mmuniqrnet.utils.errors import UserError


@TRANSFORMS.register_module(force=True)
class FailsOnRank1:
    """Fails at the n-th sample that a process of rank 1 loads.

    The file that the environment variable FAILED names has the time of it.

    Args:
        how: ``'kill'`` the rank itself with SIGKILL, from it or from its worker, ``'hang'``, or raise a ``'sentence'``
            or a ``'bug'``.
        at: n.
    """

    def __init__(self, how: str, at: int) -> None:
        self.how, self.at, self.seen = how, at, 0
        self.rank_process = os.getpid()

    def __call__(self, results: dict) -> dict:
        self.seen += 1
        if os.environ.get('RANK') == '1' and self.seen == self.at:
            Path(os.environ['FAILED']).touch()
            if self.how == 'kill':
                os.kill(self.rank_process, signal.SIGKILL)
            elif self.how == 'hang':
                time.sleep(1000)
            elif self.how == 'sentence':
                raise UserError('picture 7 is broken.')
            else:
                raise KeyError('a bug')
        return results

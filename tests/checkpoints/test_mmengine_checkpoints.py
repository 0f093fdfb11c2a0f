"""torch.load's defaults and mmengine's own checkpoints."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.utils import digit_version

from mmuniqrnet.checkpoints.file_io import read_checkpoint

LOAD = 'import torch, sys; {} torch.load(sys.argv[1]); print("read")'
ALLOW = 'from mmuniqrnet.utils.compat import allow_mmengine_checkpoints as allow; allow();'


@pytest.fixture
def checkpoint(tmp_path):
    hub = MessageHub('test_mmengine_checkpoints')
    hub.update_scalar('train/loss', 1.5)
    hub.update_scalar('train/loss', 0.5)
    hub.update_info('best_score', np.float64(3.5))
    hub.update_info('count', np.int64(3))
    path = tmp_path / 'iter_1.pth'
    meta = dict(palette=np.arange(3, dtype=np.uint8), names=np.array(['a', 'bc']))
    torch.save(dict(meta=meta, message_hub=hub.state_dict(), state_dict=dict(w=torch.ones(2))), path)
    return path


@pytest.mark.skipif(digit_version(torch.__version__) < digit_version('2.6.0'), reason='needs torch >= 2.6')
def test_plain_torch_load_reads_them_after_the_remedy_and_only_then(checkpoint):
    """``mmengine.runner.checkpoint.load_from_local`` of 0.10.7 calls ``torch.load(filename)``."""
    without, with_it = (
        subprocess.run([sys.executable, '-c', LOAD.format(first), str(checkpoint)], capture_output=True, text=True)
        for first in ('', ALLOW)
    )
    assert without.returncode != 0 and 'Unsupported global' in without.stderr
    assert with_it.stdout == 'read\n', with_it.stderr


def test_they_are_read_whole(checkpoint):
    hub = read_checkpoint(checkpoint)['message_hub']
    history = hub['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.statistics('mean') == 1.0 and history.statistics('current') == 0.5
    assert hub['runtime_info']['best_score'] == 3.5
    names = read_checkpoint(checkpoint)['meta']['names']
    assert names.tolist() == ['a', 'bc']

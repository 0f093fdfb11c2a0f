"""tools/train.py is stopped as a scheduler does it, with a signal to all its processes, and goes on."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers.main_job import CONFIG, options, train
from helpers.paths import ROOT
from helpers.stoppable import same

ITERATIONS = 40
RANDOM = [
    'model.data_preprocessor.placement=random',
    'train_dataloader.dataset.pipeline.1.prob=0.5',
    'train_dataloader.num_workers=1',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=20',
    'train_cfg.val_interval=20',
]


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SIGTERM', 'SIGUSR1'])
def test_a_signal_to_all_processes_saves_and_exits_with_75(data, tmp_path, name):
    def arguments(folder: str, *more: str) -> list[str]:
        changes = [*options(data, f'{folder}{len(more)}{name}', ITERATIONS), *RANDOM]
        return [CONFIG, '--work-dir', str(tmp_path / folder), *more, '--cfg-options', *changes]

    command = [sys.executable, '-u', str(ROOT / 'tools' / 'train.py'), *arguments('stopped')]
    with (tmp_path / 'log.txt').open('w+') as log:
        job = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=ROOT)
        try:
            limit = time.monotonic() + 240
            while 'Iter(train) [ 3/40]' not in (tmp_path / 'log.txt').read_text() and time.monotonic() < limit:
                assert job.poll() is None, (tmp_path / 'log.txt').read_text()
                time.sleep(0.05)
            os.killpg(job.pid, getattr(signal, name))
            assert job.wait(120) == 75, (tmp_path / 'log.txt').read_text()
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
    assert f'{name}: stopped after iteration' in (tmp_path / 'log.txt').read_text()
    stopped_at = torch.load(tmp_path / 'stopped' / 'stopped.pth', weights_only=False)['meta']['iter']
    assert 3 <= stopped_at < ITERATIONS
    train.main(arguments('stopped', '--resume'))
    train.main(arguments('whole'))
    one, other = (torch.load(tmp_path / run / 'iter_40.pth', weights_only=False) for run in ('stopped', 'whole'))
    for part in ('state_dict', 'optimizer', 'param_schedulers', 'loss_balance', 'resumption'):
        assert same(one[part], other[part]), part

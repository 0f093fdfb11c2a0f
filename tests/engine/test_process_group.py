"""What is refused before a job starts; jobs that train are in test_distributed_training.py and test_jobs.py."""

import pytest
import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device

from mmuniqrnet.engine import prepare_distributed
from mmuniqrnet.utils.errors import UserError


@pytest.mark.parametrize('launcher', [{}, dict(launcher='none')])
def test_a_single_process_stays_as_it_is(launcher):
    cfg = Config(dict(launcher, env_cfg=dict(dist_cfg=dict(timeout='no number'))))
    before = cfg.pretty_text
    prepare_distributed(cfg)
    assert cfg.pretty_text == before and not torch.distributed.is_initialized()


@pytest.mark.parametrize('timeout', [0, -5, 'an hour', True])
def test_a_timeout_is_a_number_of_seconds(timeout):
    cfg = Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(timeout=timeout))))
    with pytest.raises(UserError, match=f'env_cfg.dist_cfg.timeout={timeout!r}: it is a number of seconds'):
        prepare_distributed(cfg)


@pytest.mark.skipif(get_device() != 'cpu', reason='with a GPU, mmengine starts the group')
def test_processes_that_do_not_find_each_other(monkeypatch):
    environment = dict(RANK='1', LOCAL_RANK='1', WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT='1')
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cfg = Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(timeout=2))))
    with pytest.raises(UserError, match=r'the 2 processes of the job did not find each other at 127.0.0.1:1'):
        prepare_distributed(cfg)
    assert not torch.distributed.is_initialized()

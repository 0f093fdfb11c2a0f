import argparse
import os

import pytest
import torch
from mmengine.config import Config

from mmuniqrnet.config import add_launcher, set_launcher
from mmuniqrnet.utils.errors import UserError

TORCHRUN = dict(RANK='5', LOCAL_RANK='1', WORLD_SIZE='8', LOCAL_WORLD_SIZE='4', MASTER_ADDR='a', MASTER_PORT='1')
SLURM = dict(SLURM_PROCID='5', SLURM_LOCALID='1', SLURM_NTASKS='8', SLURM_NODELIST='a[1-2]')
MPI = dict(OMPI_COMM_WORLD_RANK='5', OMPI_COMM_WORLD_LOCAL_RANK='1', OMPI_COMM_WORLD_SIZE='8', MASTER_ADDR='a')


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    """An environment as without a launcher; what a test sets there, the code included, ends with it."""
    for name in {*TORCHRUN, *SLURM, *MPI, *(name for name in os.environ if name.startswith(('SLURM', 'OMPI')))}:
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)


def launcher_of(*arguments: str, **config: str) -> str:
    parser, cfg = argparse.ArgumentParser(), Config(config)
    add_launcher(parser)
    set_launcher(cfg, parser.parse_args(arguments))
    return cfg.launcher


def start(monkeypatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_a_process_alone_is_of_no_job():
    assert launcher_of() == 'none'
    assert os.environ['LOCAL_RANK'] == '0'


def test_the_local_rank_of_the_command_line_reaches_the_environment():
    launcher_of('--local-rank', '3')
    assert os.environ['LOCAL_RANK'] == '3'
    launcher_of('--local_rank', '1')  # what the launcher has set counts
    assert os.environ['LOCAL_RANK'] == '3'


@pytest.mark.parametrize('config', [{}, dict(launcher='none'), dict(launcher='pytorch')])
def test_a_process_that_torchrun_started_knows_it(config, monkeypatch):
    start(monkeypatch, TORCHRUN)
    assert launcher_of(**config) == 'pytorch'


def test_none_is_obeyed_when_it_is_said(monkeypatch):
    start(monkeypatch, TORCHRUN)
    assert launcher_of('--launcher', 'none') == 'none'
    assert launcher_of('--launcher', 'none', launcher='slurm') == 'none'


@pytest.mark.parametrize('launcher, environment', [('slurm', SLURM), ('mpi', MPI)])
def test_other_launchers_are_not_guessed_and_give_the_same_names(launcher, environment, monkeypatch):
    start(monkeypatch, environment)
    assert launcher_of() == 'none'
    assert launcher_of(launcher=launcher) == launcher
    assert [os.environ[name] for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE')] == ['5', '1', '8']


@pytest.mark.parametrize(
    'launcher, said',
    [('pytorch', 'RANK, .*torchrun'), ('slurm', 'SLURM_PROCID, .*srun'), ('mpi', 'OMPI_COMM_WORLD_LOCAL_RANK.*mpirun')],
)
def test_a_launcher_that_did_not_start_the_process_is_refused(launcher, said):
    with pytest.raises(UserError, match=f'--launcher {launcher}: .*{said}'):
        launcher_of('--launcher', launcher)
    with pytest.raises(UserError, match=f'--launcher {launcher}: .*{said}'):
        launcher_of(launcher=launcher)


def test_an_unknown_launcher_of_the_config_is_refused():
    with pytest.raises(UserError, match="launcher='torch': a launcher is none, pytorch, slurm, mpi"):
        launcher_of(launcher='torch')


@pytest.mark.parametrize('known', [True, False])
def test_more_processes_than_gpus(known, monkeypatch):
    """If torchrun says how many processes there are, all of them fail, and not only those without a GPU."""
    start(monkeypatch, TORCHRUN)
    monkeypatch.setattr('mmuniqrnet.config.launcher.get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    assert launcher_of() == 'pytorch'
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 3 if known else 1)
    if not known:
        monkeypatch.delenv('LOCAL_WORLD_SIZE')
    said = '4 processes on this machine, and it has 3 GPUs' if known else '2 processes on this machine, .* 1 GPU:'
    with pytest.raises(UserError, match=said):
        launcher_of()


def test_processes_on_cpus_need_no_gpu(monkeypatch):
    start(monkeypatch, TORCHRUN)
    monkeypatch.setattr('mmuniqrnet.config.launcher.get_device', lambda: 'cpu')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert launcher_of('--launcher', 'pytorch') == 'pytorch'

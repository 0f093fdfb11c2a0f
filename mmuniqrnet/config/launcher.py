"""Whether a tool runs as one process of a distributed job, and with which rank."""

import argparse
import os

import torch
from mmengine.config import Config
from mmengine.device import get_device

from mmuniqrnet.utils.errors import UserError

# Variables that mmengine reads, by launcher, and how to start a tool so that they are set.
LAUNCHERS = dict(
    pytorch=(
        ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
        'torchrun --nproc_per_node=GPUS tools/train.py CONFIG',
    ),
    slurm=(('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'), 'srun python tools/train.py CONFIG --launcher slurm'),
    mpi=(
        ('OMPI_COMM_WORLD_LOCAL_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK', 'MASTER_ADDR'),
        'mpirun -x MASTER_ADDR -np GPUS python tools/train.py CONFIG --launcher mpi',
    ),
)
# The same facts under the names that torchrun gives them.
_NAMES = dict(
    pytorch={},
    slurm=dict(RANK='SLURM_PROCID', WORLD_SIZE='SLURM_NTASKS', LOCAL_RANK='SLURM_LOCALID'),
    mpi=dict(RANK='OMPI_COMM_WORLD_RANK', WORLD_SIZE='OMPI_COMM_WORLD_SIZE', LOCAL_RANK='OMPI_COMM_WORLD_LOCAL_RANK'),
)


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher`` for distributed runs; ``set_launcher`` applies it."""
    parser.add_argument(
        '--launcher',
        choices=['none', *LAUNCHERS],
        help='job launcher (default: that of the config; pytorch if torchrun started this process; else none)',
    )
    # torch.distributed.launch passes --local-rank; torchrun sets LOCAL_RANK instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def set_launcher(cfg: Config, args: argparse.Namespace) -> None:
    """Write the arguments of ``add_launcher`` into the config and the environment, where mmengine reads them.

    Without ``--launcher`` and without one in the config, a process that torchrun started is one of its job.

    Raises:
        UserError: The launcher did not start this process, or there are fewer GPUs than processes.
    """
    launcher = args.launcher or cfg.get('launcher') or 'none'
    if launcher == 'none' and args.launcher is None and all(name in os.environ for name in LAUNCHERS['pytorch'][0]):
        launcher = 'pytorch'
    cfg.launcher = launcher
    if launcher not in ('none', *LAUNCHERS):
        raise UserError(f'launcher={launcher!r}: a launcher is none, {", ".join(LAUNCHERS)}.')
    if launcher != 'none':
        needed, command = LAUNCHERS[launcher]
        missing = [name for name in needed if name not in os.environ]
        if missing:
            raise UserError(
                f'--launcher {launcher}: {", ".join(missing)} must be in the environment. Start the tool as '
                f'`{command}`, or leave --launcher out for a single process.'
            )
        for name, theirs in _NAMES[launcher].items():
            if theirs in os.environ:
                os.environ[name] = os.environ[theirs]
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if launcher != 'none' and get_device() == 'cuda':
        _check_gpus()


def _check_gpus() -> None:
    """Refuse a job with more processes on this machine than GPUs, on all of them if their number is known."""
    rank, gpus = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', rank + 1))
    if processes > gpus:
        raise UserError(
            f'{processes} processes on this machine, and it has {gpus} GPU{"" if gpus == 1 else "s"}: start one '
            'process for each GPU (torchrun --nproc_per_node), or set CUDA_VISIBLE_DEVICES=-1 to train on the CPU.'
        )

"""Command-line arguments that several tools have in common."""

import argparse
import os
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device

from mmuniqrnet.utils.errors import UserError

CFG_OPTIONS_HELP = (
    'override entries of the config. Nested keys are joined by dots, list elements are named by their index: '
    'train_dataloader.batch_size=8 custom_hooks.0.strategy=dwa. A list is written as key=1,2 or key=[1,2], '
    'a list of tuples as key="[(1,2),(3,4)]", without spaces'
)


# Variables that mmengine reads, by launcher, and how to start a tool so that they are set.
LAUNCHERS = dict(
    pytorch=(
        ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
        'torchrun --nproc_per_node=GPUS tools/train.py CONFIG --launcher pytorch',
    ),
    slurm=(('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'), 'srun python tools/train.py CONFIG --launcher slurm'),
    mpi=(
        ('OMPI_COMM_WORLD_LOCAL_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK', 'MASTER_ADDR'),
        'mpirun -x MASTER_ADDR -np GPUS python tools/train.py CONFIG --launcher mpi',
    ),
)


class _Options(DictAction):
    """mmengine's action, which names the option that it cannot read."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        for option in values or ():
            key, equals, _ = option.partition('=')
            if not equals or not all(key.split('.')):
                raise argparse.ArgumentError(
                    self, f'{option!r} is not KEY=VALUE, as in optim_wrapper.optimizer.lr=5e-5'
                )
            try:
                super().__call__(parser, namespace, [option], option_string)
            except (AssertionError, ValueError) as error:
                raise argparse.ArgumentError(self, f'the value of {option!r} cannot be read: {error}') from None


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, which ``load_config`` takes as ``options``."""
    parser.add_argument('--cfg-options', nargs='+', action=_Options, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher`` for distributed runs; ``set_launcher`` applies it."""
    parser.add_argument(
        '--launcher', choices=['none', *LAUNCHERS], help='job launcher (default: none, or that of the config)'
    )
    # torch.distributed.launch passes --local-rank; torchrun sets LOCAL_RANK instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def set_launcher(cfg: Config, args: argparse.Namespace) -> None:
    """Write the arguments of ``add_launcher`` into the config and the environment, where mmengine reads them.

    Raises:
        UserError: The launcher did not start this process, or there are fewer GPUs than processes.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = launcher = args.launcher or cfg.get('launcher') or 'none'
    if launcher == 'none':
        return
    if launcher not in LAUNCHERS:
        raise UserError(f'launcher={launcher!r}: a launcher is none, {", ".join(LAUNCHERS)}.')
    needed, command = LAUNCHERS[launcher]
    missing = [name for name in needed if name not in os.environ]
    if missing:
        raise UserError(
            f'--launcher {launcher}: {", ".join(missing)} must be in the environment. Start the tool as '
            f'`{command}`, or leave --launcher out for a single process.'
        )
    rank, gpus = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
    if launcher == 'pytorch' and get_device() in ('cpu', 'cuda') and rank >= gpus:
        raise UserError(
            f'--launcher pytorch: process {rank} of this machine has no GPU, because there are {gpus}: start one '
            'process for each GPU (torchrun --nproc_per_node).'
        )


def add_source_and_target(parser: argparse.ArgumentParser, source: str, target: str) -> None:
    """Add ``SRC DST --overwrite`` of a tool that converts a file.

    Args:
        parser: The parser of the tool.
        source: Help text of SRC.
        target: Help text of DST.
    """
    parser.add_argument('source', metavar='SRC', help=source)
    parser.add_argument('target', metavar='DST', help=target)
    parser.add_argument('--overwrite', action='store_true', help='replace DST if it exists')


def positive_int(text: str) -> int:
    """A ``type`` of argparse: an integer of at least 1.

    Raises:
        argparse.ArgumentTypeError: The text is none.
    """
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not an integer of at least 1')
    return value

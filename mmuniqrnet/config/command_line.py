"""Command-line arguments that several tools have in common."""

import argparse
import os

from mmengine.config import Config, DictAction

CFG_OPTIONS_HELP = (
    'override entries of the config. Nested keys are joined by dots, list elements are named by their index: '
    'train_dataloader.batch_size=8 custom_hooks.0.strategy=dwa. A list is written as key=1,2 or key=[1,2], '
    'a list of tuples as key="[(1,2),(3,4)]", without spaces'
)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, which ``load_config`` takes as ``options``."""
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher`` for distributed runs; ``set_launcher`` applies it."""
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torch.distributed.launch passes --local-rank; torchrun sets LOCAL_RANK instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def set_launcher(cfg: Config, args: argparse.Namespace) -> None:
    """Write the arguments of ``add_launcher`` into the config and the environment, where mmengine reads them."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher


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

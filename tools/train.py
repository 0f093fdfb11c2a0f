"""Train a model: python tools/train.py CONFIG [--work-dir DIR] [--resume [CHECKPOINT]] [--amp] [--cfg-options KEY=VALUE ...]"""

import argparse
import os
from pathlib import Path

from mmengine.config import DictAction
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmuniqrnet.config import load_config
from mmuniqrnet.utils.errors import UserError, run_tool


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/CONFIG)')
    parser.add_argument('--amp', action='store_true', help='train with automatic mixed precision')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help="scale the learning rate by the batch size, against the config's"
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on with a stopped run: from CHECKPOINT, or from the latest of the work dir',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override entries of the config'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torchrun's predecessor passes --local-rank.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    cfg.launcher = args.launcher

    if args.amp:
        if get_device() == 'cpu':
            raise UserError('--amp needs a GPU, and there is none here: leave it out.')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise UserError(
                f'{args.config} has no auto_scale_lr.base_batch_size, the batch size that its learning rate '
                'is for; add auto_scale_lr=dict(base_batch_size=...) or leave --auto-scale-lr out.'
            )
        cfg.auto_scale_lr.enable = True
        # mmengine compares with one batch, but a step is made of all that are accumulated.
        cfg.auto_scale_lr.base_batch_size /= cfg.optim_wrapper.get('accumulative_counts', 1)
    if args.resume == 'auto':
        cfg.resume, cfg.load_from = True, None
    elif args.resume is not None:
        if not Path(args.resume).is_file():
            raise UserError(f'--resume {args.resume}: there is no such checkpoint.')
        cfg.resume, cfg.load_from = True, args.resume
    if cfg.get('resume') and str(cfg.get('load_from')).endswith('.safetensors'):
        raise UserError(
            f'{cfg.load_from} holds weights alone, no optimiser and no step to go on from: name the '
            "training's own .pth, or begin a new training from it (--cfg-options load_from=...)."
        )

    runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    runner.train()


if __name__ == '__main__':
    run_tool(main)

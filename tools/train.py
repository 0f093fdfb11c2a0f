"""Train a model:

python tools/train.py CONFIG [--work-dir DIR] [--resume [CHECKPOINT]] [--amp] [--amp-dtype bf16|fp16]
                       [--cfg-options KEY=VALUE ...]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint
from torch import nn

from mmuniqrnet.checkpoints.carried_config import has_checkpoint
from mmuniqrnet.config import (
    add_cfg_options,
    add_launcher,
    check_best_rules,
    load_config,
    naming_unknown_types,
    set_launcher,
)
from mmuniqrnet.engine import gpu_has_bfloat16, prepare_distributed
from mmuniqrnet.utils.checkpoint_kinds import require_checkpoint_file
from mmuniqrnet.utils.errors import UserError, run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/CONFIG)')
    parser.add_argument('--amp', action='store_true', help='train with automatic mixed precision (needs a GPU)')
    parser.add_argument(
        '--amp-dtype',
        choices=('bf16', 'fp16'),
        help='the type of --amp (default: bf16 where the GPU computes in it, else fp16, with a loss scaler)',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the batch size that is used, relative to auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue an interrupted training from CHECKPOINT, or from the latest checkpoint of the work dir',
    )
    add_cfg_options(parser)
    add_launcher(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    set_launcher(cfg, args)

    if args.amp:
        set_amp(cfg, args.amp_dtype)
    elif args.amp_dtype is not None:
        raise UserError(f'--amp-dtype {args.amp_dtype} is the type of --amp: add --amp, or leave it out.')
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise UserError(
                f'{args.config} has no auto_scale_lr.base_batch_size, the batch size that its learning rate '
                'is for: add auto_scale_lr=dict(base_batch_size=...), or leave --auto-scale-lr out.'
            )
        cfg.auto_scale_lr.enable = True
    if cfg.get('auto_scale_lr', {}).get('enable'):  # by --auto-scale-lr, or by the config
        # mmengine compares with the size of one batch, but a step accumulates several.
        cfg.auto_scale_lr.base_batch_size /= cfg.optim_wrapper.get('accumulative_counts', 1)
    check_best_rules(cfg)
    note = None if args.resume is None else resume(cfg, args.resume)
    if cfg.get('resume') and str(cfg.get('load_from')).endswith('.safetensors'):
        raise UserError(
            f'{cfg.load_from} holds weights alone, without the state of the optimizer, so a training can not be '
            'resumed from it: give a .pth of the training, or start a new one (--cfg-options load_from=...).'
        )

    if cfg.get('load_from') and '://' not in cfg.load_from:
        require_checkpoint_file(Path(cfg.load_from).expanduser())  # before minutes are spent on the data

    prepare_distributed(cfg)
    with naming_unknown_types(cfg):
        runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
        if note is not None:
            runner.logger.info(note)
        if cfg.get('resume') and cfg.get('load_from'):
            forget_initial_checkpoints(runner.model)
        runner.train()


def set_amp(cfg: Config, dtype: str | None) -> None:
    """Set the optimiser's wrapper to train in ``'bf16'`` or ``'fp16'``; None chooses by the GPU."""
    if get_device() == 'cpu':
        raise UserError('--amp needs a GPU, and this machine has none: leave it out.')
    if dtype == 'bf16' and not gpu_has_bfloat16():
        raise UserError('--amp-dtype bf16: this GPU does not compute in bfloat16; use --amp-dtype fp16.')
    if dtype == 'bf16' or (dtype is None and gpu_has_bfloat16()):
        cfg.optim_wrapper.type = 'mmuniqrnet.Bf16OptimWrapper'
        for name in ('loss_scale', 'dtype'):
            cfg.optim_wrapper.pop(name, None)  # options of AmpOptimWrapper
    else:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
        cfg.optim_wrapper.dtype = 'float16'


def forget_initial_checkpoints(model: nn.Module) -> None:
    """Leave out the checkpoints of every ``init_cfg``, which a resumed training neither uses nor needs to find."""
    for part in model.modules():
        if has_checkpoint(getattr(part, 'init_cfg', None)):
            part.init_cfg = None


def resume(cfg: Config, checkpoint: str) -> str | None:
    """Set the config to continue from a checkpoint; ``'auto'`` is the latest one of the work dir.

    Without any checkpoint in the work dir the training starts as the config says: a job that is restarted by a
    scheduler has ``--resume`` in its first command, too. This is returned as a sentence for the log.
    """
    if checkpoint != 'auto':
        if '://' not in checkpoint and not Path(checkpoint).expanduser().is_file():
            raise UserError(f'--resume {checkpoint}: there is no such checkpoint.')
        cfg.resume, cfg.load_from = True, checkpoint
        return None
    latest = find_latest_checkpoint(cfg.work_dir)
    if latest is None:
        start = f'the weights of load_from={cfg.load_from}' if cfg.get('load_from') else 'the start'
        cfg.resume = False
        return f'--resume: {cfg.work_dir} has no checkpoint, so the training starts from {start}'
    if not Path(latest).is_file():
        raise UserError(
            f'--resume: {Path(cfg.work_dir, "last_checkpoint")} names {latest}, which does not exist: give --resume '
            'CHECKPOINT, or remove the file to start anew.'
        )
    cfg.resume, cfg.load_from = True, latest
    return None


if __name__ == '__main__':
    run_tool(main)

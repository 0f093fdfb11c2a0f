"""Test a checkpoint:

python tools/test.py CONFIG CHECKPOINT [--out RESULTS.pkl] [--show-dir DIR] [--cfg-options KEY=VALUE ...]

It prints a table with a row per evaluation set, and writes it to results.json and results.md in the work dir.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import METRICS, RUNNERS
from mmengine.runner import Runner

from mmuniqrnet.config import add_cfg_options, add_launcher, load_config, naming_unknown_types, set_launcher
from mmuniqrnet.datasets import text_blind_by_set
from mmuniqrnet.engine import prepare_distributed
from mmuniqrnet.evaluation import table_from_metrics, to_text, write_report
from mmuniqrnet.utils.checkpoint_kinds import require_checkpoint_file
from mmuniqrnet.utils.errors import UserError, run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Test a checkpoint on the evaluation sets of a config.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file, or its address (https://...)')
    parser.add_argument('--work-dir', help='folder for logs and the results table (default: work_dirs/CONFIG)')
    parser.add_argument('--out', metavar='FILE.pkl', help='also dump all predictions, masks as RLE')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--wait-time', type=float, metavar='SECONDS', help='time of a picture of --show (default: 2)')
    add_cfg_options(parser)
    add_launcher(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    set_launcher(cfg, args)
    if '://' not in args.checkpoint:
        require_checkpoint_file(Path(args.checkpoint).expanduser())
    if args.out is not None and not args.out.endswith(('.pkl', '.pickle')):
        raise UserError(f'--out {args.out}: predictions are dumped as a pickle; the name must end in .pkl.')
    for name in {'load_from', 'resume'} & set(args.cfg_options or ()):
        raise UserError(f'--cfg-options {name}: what is tested is the checkpoint {args.checkpoint}; leave {name} out.')
    if args.wait_time is not None and not args.show:
        raise UserError('--wait-time is for the window of --show: add --show, or leave it out.')
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.show or args.show_dir:
        draw_answers(cfg, args)

    prepare_distributed(cfg)
    with naming_unknown_types(cfg):
        runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
        if args.out is not None:
            runner.test_evaluator.metrics.append(
                METRICS.build(dict(type='mmdet.DumpDetResults', out_file_path=args.out))
            )
        metrics = runner.test()
    if is_main_process():
        scored = {row['set'] for row in table_from_metrics(metrics)}
        blind = text_blind_by_set(runner.test_dataloader.dataset)
        extra = {'text-blind': {name: accuracy for name, accuracy in blind.items() if name in scored}}
        facts = dict(config=args.config, checkpoint=args.checkpoint)
        print('\n' + to_text(table_from_metrics(metrics, extra)))
        print('written to', *write_report(runner.work_dir, metrics, extra, facts))
    return metrics


def draw_answers(cfg: Config, args: argparse.Namespace) -> None:
    """Set the visualization hook as ``--show``, ``--wait-time`` and ``--show-dir`` ask."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise UserError(
            f'{args.config} has no default_hooks.visualization, the hook that draws: add '
            "dict(type='ReferringVisualizationHook'), or leave --show and --show-dir out."
        )
    hook.draw = True
    if args.show:
        hook.show, hook.wait_time = True, 2.0 if args.wait_time is None else args.wait_time
    if args.show_dir:
        hook.test_out_dir = args.show_dir


if __name__ == '__main__':
    run_tool(main)

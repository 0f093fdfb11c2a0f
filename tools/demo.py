"""The whole workflow: make RefShapes, train UniQRNet on it, test the best checkpoint, draw its predictions.

It runs the same commands as a user would, prints each, and continues an interrupted demo where it stopped.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mmuniqrnet.config import CFG_OPTIONS_HELP
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.steps import run_script, say_step

TOOLS = Path(__file__).resolve().parent
CONFIG = TOOLS.parent / 'configs' / 'uniqrnet_swin-nano_refshapes.py'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data-dir', default='data/refshapes', help='folder for RefShapes (default: %(default)s)')
    parser.add_argument('--work-dir', default='work_dirs/demo', help='folder for all results (default: %(default)s)')
    # As text, to be passed on to the tools.
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    work_dir = Path(args.work_dir)
    options = [f'{part}_dataloader.dataset.data_root={args.data_dir}' for part in ('train', 'val', 'test')]
    options = ['--cfg-options', *options, *args.cfg_options]

    say_step('1/3  The data: RefShapes, coloured shapes and expressions that each name one of them (20 seconds)')
    run_script(TOOLS / 'dataset_tools/make_refshapes.py', args.data_dir)
    say_step('2/3  Training (15 to 25 minutes on two CPU cores; the log below shows the remaining time as "eta")')
    if (work_dir / 'finished').exists():
        print(f'{work_dir} holds a finished training; delete it to train again.', flush=True)
    else:
        run_script(TOOLS / 'train.py', CONFIG, '--work-dir', work_dir, '--resume', *options)
        (work_dir / 'finished').touch()
    say_step('3/3  Testing the best checkpoint on val, testA (attributes) and testB (place and relation)')
    best = max(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    pictures = work_dir / 'pictures'
    run_script(TOOLS / 'test.py', CONFIG, best, '--work-dir', work_dir, '--show-dir', pictures, *options)
    print(
        f'\nTable:       {work_dir / "results.md"}'
        f'\nPictures:    {pictures}'
        f'\nCheckpoint:  {best}'
        f'\nTensorBoard: {shlex.quote(sys.executable)} -m tensorboard.main --logdir {work_dir}'
    )


if __name__ == '__main__':
    run_tool(main)

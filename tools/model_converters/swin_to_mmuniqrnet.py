"""Convert a Swin (original classifier or Mask R-CNN, timm, mmdet) for a backbone's init_cfg:

python tools/model_converters/swin_to_mmuniqrnet.py SRC DST [--layout LAYOUT] [--window-size N]
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.config import add_source_and_target, positive_int
from mmuniqrnet.export.convert_checkpoints import convert_swin
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convert a Swin for a backbone's init_cfg.")
    add_source_and_target(
        parser,
        'checkpoint of Swin, alone or in a classifier or detector',
        'checkpoint to write (.pth, .safetensors)',
    )
    parser.add_argument(
        '--layout', choices=['auto', 'original', 'timm', 'mmdet'], default='auto', help='layout of SRC (default: auto)'
    )
    parser.add_argument(
        '--window-size',
        type=positive_int,
        metavar='N',
        help='interpolate the relative position bias tables to windows of N x N tokens',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    fit = convert_swin(
        args.source, args.target, overwrite=args.overwrite, layout=args.layout, window_size=args.window_size
    )
    print(f'{fit.describe()}\nwrote {args.target}')


if __name__ == '__main__':
    run_tool(main)

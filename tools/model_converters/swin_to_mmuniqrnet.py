"""Convert a Swin (original classifier or Mask R-CNN, timm, mmdet) for a backbone's init_cfg:

python tools/model_converters/swin_to_mmuniqrnet.py SRC DST [--layout LAYOUT] [--window-size N]
"""

import argparse
import sys

from mmuniqrnet.export.convert_checkpoints import convert_swin
from mmuniqrnet.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convert a Swin for a backbone's init_cfg.")
    parser.add_argument('source', metavar='SRC', help='checkpoint of Swin, alone or in a classifier or detector')
    parser.add_argument('target', metavar='DST', help='checkpoint to write (.pth, .safetensors)')
    parser.add_argument(
        '--layout', choices=['auto', 'original', 'timm', 'mmdet'], default='auto', help='layout of SRC (default: auto)'
    )
    parser.add_argument(
        '--window-size', type=int, metavar='N', help='interpolate the bias tables for windows of N x N tokens'
    )
    parser.add_argument('--overwrite', action='store_true', help='write DST even if it is there already')
    return parser.parse_args()


if __name__ == '__main__':
    args = parse_args()
    try:
        fit = convert_swin(
            args.source, args.target, overwrite=args.overwrite, layout=args.layout, window_size=args.window_size
        )
    except UserError as error:
        sys.exit(f'error: {error}')
    print(f'{fit.describe()}\nwrote {args.target}')

"""Convert a published QRNet checkpoint for load_from: python tools/model_converters/qrnet_to_mmuniqrnet.py SRC DST"""

import argparse
import sys

from mmuniqrnet.export.convert_checkpoints import convert_qrnet
from mmuniqrnet.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert a published QRNet checkpoint for load_from.')
    parser.add_argument('source', metavar='SRC', help='published QRNet checkpoint')
    parser.add_argument('target', metavar='DST', help='checkpoint to write (.pth)')
    parser.add_argument('--overwrite', action='store_true', help='write DST even if it is there already')
    return parser.parse_args()


if __name__ == '__main__':
    args = parse_args()
    try:
        fit = convert_qrnet(args.source, args.target, overwrite=args.overwrite)
    except UserError as error:
        sys.exit(f'error: {error}')
    print(f'{fit.describe()}\nwrote {args.target}')

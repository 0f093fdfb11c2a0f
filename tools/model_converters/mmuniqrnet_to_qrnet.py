"""Convert a checkpoint back to the published layout of QRNet:

python tools/model_converters/mmuniqrnet_to_qrnet.py SRC DST
"""

import argparse
import sys

from mmuniqrnet.export.convert_checkpoints import convert_to_qrnet
from mmuniqrnet.utils.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert a checkpoint back to the published layout of QRNet.')
    parser.add_argument('source', metavar='SRC', help='checkpoint of this project')
    parser.add_argument('target', metavar='DST', help='checkpoint to write (.pth)')
    parser.add_argument('--overwrite', action='store_true', help='write DST even if it is there already')
    return parser.parse_args()


if __name__ == '__main__':
    args = parse_args()
    try:
        fit = convert_to_qrnet(args.source, args.target, overwrite=args.overwrite)
    except UserError as error:
        sys.exit(f'error: {error}')
    print(f'{fit.describe()}\nwrote {args.target}')

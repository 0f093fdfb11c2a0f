"""Lengths of a config's expressions, and how many of them the tokenizer cuts.

python tools/dataset_tools/stats.py CONFIG [--part train] [--tokenizer NAME] [--limits 20 40]
"""

import argparse
from collections.abc import Sequence

import numpy as np
from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from mmuniqrnet.analysis import text_lengths
from mmuniqrnet.config import load_config
from mmuniqrnet.models.text_encoder import load_tokenizer
from mmuniqrnet.registry import DATASETS
from mmuniqrnet.utils.errors import run_tool


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description='Lengths of expressions, and how many of them are cut.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--part', choices=['train', 'val', 'test'], default='train', help='default: train')
    parser.add_argument(
        '--tokenizer', help='a Hugging Face name, a folder, or mmuniqrnet:refshapes (default: that of the config)'
    )
    parser.add_argument('--limits', type=int, nargs='+', default=[20, 40], help='numbers of tokens (default: 20 40)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override entries of the config'
    )
    args = parser.parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmuniqrnet'))
    text_encoder = cfg.model.text_encoder
    name = args.tokenizer or text_encoder.get('tokenizer') or text_encoder.model
    tokenizer = load_tokenizer(name)
    dataset = DATASETS.build(cfg[f'{args.part}_dataloader'].dataset)
    texts: dict[str, list[str]] = {}
    for index in range(len(dataset)):
        item = dataset.get_data_info(index)
        texts.setdefault(f'{item["dataset"]}/{item["split"]}', []).append(item['text'])
    limits = ''.join(f'{f"cut at {limit}":>18}' for limit in args.limits)
    print(f'tokenizer: {name}; tokens include [CLS] and [SEP]')
    print(f'{"set":18}{"expressions":>12}{"words":>8}{"most":>6}{"tokens":>8}{"most":>6}{"unknown":>9}{limits}')
    for name, expressions in texts.items():
        found = text_lengths(expressions, tokenizer)
        cut = ''.join(f'{f"{found.cut(n)} ({100 * found.cut(n) / len(expressions):.2f} %)":>18}' for n in args.limits)
        print(
            f'{name:18}{len(expressions):12}{np.mean(found.words):8.2f}{found.words.max():6}'
            f'{np.mean(found.tokens):8.2f}{found.tokens.max():6}{found.unknown.sum():9}{cut}'
        )


if __name__ == '__main__':
    run_tool(main)

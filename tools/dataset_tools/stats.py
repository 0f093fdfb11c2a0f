"""Lengths of a config's expressions, and how many of them are longer than a number of tokens.

python tools/dataset_tools/stats.py CONFIG [--part train] [--tokenizer NAME] [--limits 20 40]
"""

import argparse
from collections.abc import Sequence

from mmengine.registry import init_default_scope

from mmuniqrnet.analysis import text_lengths
from mmuniqrnet.config import add_cfg_options, load_config, positive_int
from mmuniqrnet.models.text_encoder import load_tokenizer
from mmuniqrnet.registry import DATASETS
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Lengths of expressions, and how many of them are cut.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--part', choices=['train', 'val', 'test'], default='train', help='default: train')
    parser.add_argument(
        '--tokenizer', help='a Hugging Face name, a folder, or mmuniqrnet:refshapes (default: that of the config)'
    )
    parser.add_argument(
        '--limits', type=positive_int, nargs='+', default=[20, 40], metavar='N', help='tokens (default: 20 40)'
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
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
    rows = []
    for set_name, expressions in texts.items():
        found = text_lengths(expressions, tokenizer)
        row = {
            'set': set_name,
            'expressions': len(expressions),
            'mean words': found.words.mean(),
            'max words': found.words.max(),
            'mean tokens': found.tokens.mean(),
            'max tokens': found.tokens.max(),
            'unknown tokens': found.unknown.sum(),
        }
        for limit in args.limits:
            cut = found.cut(limit)
            row |= {f'cut at {limit}': cut, f'cut at {limit}, %': 100 * cut / len(expressions)}
        rows.append(row)
    print(f'tokenizer: {name}; tokens include [CLS] and [SEP]')
    print(text_table(rows))


if __name__ == '__main__':
    run_tool(main)

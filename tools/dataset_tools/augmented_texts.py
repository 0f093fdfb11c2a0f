"""How many expressions of a config's training set forbid a crop or a flip, and which.

python tools/dataset_tools/augmented_texts.py CONFIG [--list not-flipped]
"""

import argparse
from collections.abc import Sequence

from mmengine.registry import init_default_scope

from mmuniqrnet.analysis import augmented_texts
from mmuniqrnet.config import add_cfg_options, load_config
from mmuniqrnet.registry import DATASETS
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='How many expressions forbid a crop or a flip, and which.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--list',
        choices=['exchanged', 'not-flipped', 'not-cropped'],
        help='print these expressions, one a line, instead of numbers; for exchanged: text, tab, exchanged text',
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmuniqrnet'))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    rows = []
    for part in getattr(dataset, 'datasets', [dataset]):
        items = [part.get_data_info(index) for index in range(len(part))]
        found = augmented_texts([item['text'] for item in items], part.pipeline.transforms)
        columns = {
            'exchanged': found.exchanged,
            'not-flipped': found.not_flipped,
            'not-cropped': found.not_cropped,
        }
        if args.list:
            for text in columns[args.list]:
                print(text if isinstance(text, str) else '\t'.join(text))
            continue
        row = {'set': f'{items[0]["dataset"]}/{items[0]["split"]}', 'expressions': found.total}
        for name, texts in columns.items():
            row |= {name: len(texts), f'{name}, %': 100 * len(texts) / found.total}
        rows.append(row)
    if rows:
        print(text_table(rows))


if __name__ == '__main__':
    run_tool(main)

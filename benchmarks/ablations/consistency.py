"""Measure how the gates and features of trained rows agree with the text; report.py shows the results.

    python benchmarks/ablations/consistency.py [--rows joint-plain joint] [--seeds 0 1 2]

It needs the weights that run.py saves in its --work-dir.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mmengine.registry import init_default_scope
from rows import ROWS
from run import RESULTS, config_of, weights_of

from mmuniqrnet.utils.errors import run_tool

COMPARED = ('joint-plain', 'joint', 'shipped-boxes-plain-pointing', 'shipped-joint-plain', 'shipped-joint')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', nargs='+', choices=ROWS, default=COMPARED, metavar='ROW')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--results', type=Path, default=RESULTS)
    parser.add_argument('--data-root', default='data/refshapes-crowded')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/ablations'))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    from mmuniqrnet.analysis.feature_localization import measure_model, summarise
    from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of
    from mmuniqrnet.registry import DATASETS, MODELS

    args = parse_args(argv)
    init_default_scope('mmuniqrnet')
    for row in args.rows:
        for seed in args.seeds:
            weights = weights_of(row, seed, args.work_dir)
            target = args.results / f'consistency_{row}_{seed}.json'
            if target.exists() or not weights.exists():
                print(
                    f'{row} seed {seed}:', 'exists already' if target.exists() else f'no weights {weights}', flush=True
                )
                continue
            cfg = config_of(row, seed, args.data_root, weights.parent)
            model = MODELS.build(cfg.model)
            model.load_state_dict(state_dict_of(read_checkpoint(weights)))
            rows = summarise(measure_model(model.eval(), DATASETS.build(cfg.val_dataloader.dataset)))
            target.write_text(json.dumps(dict(row=row, seed=seed, maps=rows)) + '\n')
            print(f'{row} seed {seed}: done', flush=True)


if __name__ == '__main__':
    run_tool(main)

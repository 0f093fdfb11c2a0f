"""Train the rows of the ablations, several in parallel, each on one core; finished runs are skipped.

    python benchmarks/ablations/run.py                       # seeds 0, 1 and 2 of what is missing in results/
    python benchmarks/ablations/run.py --results mine        # everything, with results in mine/
    python benchmarks/ablations/run.py --results mine --rows joint dwa --seeds 0
    python benchmarks/ablations/run.py --groups modelling --seeds 0 1 --jobs 8 --workers 2     # whole trainings of nano
    python benchmarks/ablations/report.py                    # tables and plots of results/

The data, RefShapes, are made on first use. The rows differ only in what rows.py states. Most start from start.pth
beside this file, which is trained first if it does not exist; whole trainings start from scratch. The model after the
last iteration is reported, not the best one. All runs share a GPU if there is one. A run writes
RESULTS/ROW_seedN.json, and its log and weights into work_dirs/ablations/ROW/seedN.
"""

import argparse
import copy
import json
import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rows import (
    CONFIG,
    GROUPS,
    LEARNING_RATE,
    NEWER_OPTIONS,
    NUM_IMAGES,
    ROWS,
    SHORT,
    START_PARTS,
    START_SEED,
    STARTS,
    VALIDATE_EVERY,
    WARM_UP,
)

from mmuniqrnet.config import positive_int
from mmuniqrnet.utils.errors import UserError, run_tool

RESULTS = Path(__file__).parent / 'results'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', nargs='+', choices=ROWS, metavar='ROW', help=f'which rows: {", ".join(ROWS)}')
    parser.add_argument(
        '--groups', nargs='+', choices=GROUPS, default=[], help='the rows of these groups (default: all rows)'
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument(
        '--jobs', type=positive_int, default=os.cpu_count(), help='runs in parallel (default: one per core)'
    )
    parser.add_argument(
        '--results', type=Path, default=RESULTS, help='folder of the results; existing ones are not run again'
    )
    parser.add_argument(
        '--iterations',
        type=positive_int,
        metavar='N',
        help='length of the whole trainings, their warm-up and cosine scaled with it',
    )
    parser.add_argument(
        '--workers', type=positive_int, help='data loading processes of each run (default: none, the run loads itself)'
    )
    parser.add_argument('--data-root', default='data/refshapes-crowded', help='crowded data')
    parser.add_argument(
        '--start-data-root', default='data/refshapes', help='data of start.pth and of whole trainings on plain data'
    )
    parser.add_argument('--work-dir', default='work_dirs/ablations')
    return parser.parse_args(argv)


def config_of(
    row: str, seed: int, data_root: str, work_dir: Path, iterations: int | None = None, workers: int | None = None
):
    """The config of one run.

    Args:
        row: Name of the row.
        seed: Seed of the run.
        data_root: Folder of the data, which are made on first use.
        work_dir: Folder of the run, its parent the row's, beside those of other rows.
        iterations: Length of a row that is a whole training; None is the row's own.
        workers: Data loading processes; None is the config's.
    """
    from mmuniqrnet.config import load_config

    cfg = load_config(str(CONFIG), work_dir=str(work_dir))
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].dataset.data_root = data_root
        if ROWS[row].crowded:
            cfg[f'{part}_dataloader'].dataset.update(crowded=True, num_images=NUM_IMAGES)
        if workers is not None:
            cfg[f'{part}_dataloader'].update(num_workers=workers, persistent_workers=True)
    if ROWS[row].whole:
        iterations = iterations or ROWS[row].iterations
        scale_schedule(cfg, iterations)
    else:
        iterations = ROWS[row].iterations
        cfg.merge_from_dict(SHORT)
        for key in NEWER_OPTIONS:
            part, _, option = key.rpartition('.')
            config_part(cfg, part).pop(option, None)
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=VALIDATE_EVERY)
        cfg.optim_wrapper.optimizer.lr = LEARNING_RATE
        cfg.param_scheduler = [
            dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=WARM_UP),
            dict(
                type='CosineAnnealingLR',
                by_epoch=False,
                begin=WARM_UP,
                end=iterations,
                T_max=iterations - WARM_UP,
                eta_min=LEARNING_RATE * 0.01,
            ),
        ]
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=iterations, save_optimizer=False, save_param_scheduler=False
    )
    cfg.default_hooks.visualization.val_examples = 0
    cfg.default_hooks.logger.log_metric_by_epoch = False
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    cfg.randomness = dict(seed=seed)
    cfg.merge_from_dict(copy.deepcopy(ROWS[row].options))  # mmengine removes _delete_ from what it merges
    if ROWS[row].tests:
        cfg.load_from = str(weights_of(ROWS[row].tests, seed, work_dir.parents[1]))
    elif ROWS[row].start:
        cfg.load_from = str(work_dir.parents[1] / f'{ROWS[row].start}.pth')
    return cfg


def config_part(cfg, key: str):
    """The part of a config at a dotted key."""
    for name in key.split('.'):
        cfg = cfg[name]
    return cfg


def scale_schedule(cfg, iterations: int) -> None:
    """Change the length of a training, its learning rate scaled along the time axis, and validate three times."""
    own = cfg.train_cfg.max_iters
    cfg.train_cfg.update(max_iters=iterations, val_interval=math.ceil(iterations / 3))
    for scheduler in cfg.param_scheduler:
        for key in ('begin', 'end', 'T_max'):
            if key in scheduler:
                scheduler[key] = round(scheduler[key] * iterations / own)
    # A warm-up may be too short to scale.
    cfg.param_scheduler = [s for s in cfg.param_scheduler if s.get('end', iterations) > s.get('begin', 0)]


def weights_of(row: str, seed: int, work_dir: Path) -> Path:
    return work_dir / row / f'seed{seed}' / f'iter_{ROWS[row].iterations}.pth'


def result_file(row: str, seed: int, results: Path) -> Path:
    return results / f'{row}_seed{seed}.json'


def train(
    row: str, seed: int, data_root: str, folder: Path, result: Path, iterations: int | None, workers: int | None
) -> None:
    """One run in this process; its output goes to output.log."""
    import torch
    from mmengine.runner import Runner

    log = os.open(folder / 'output.log', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    cfg = config_of(row, seed, data_root, folder, iterations, workers)
    begin = time.time()
    runner = Runner.from_cfg(cfg)
    if ROWS[row].tests:
        metrics = {name.rpartition('/')[2]: value for name, value in runner.val().items()}
        curve, balance = [{'iter': cfg.train_cfg.max_iters} | metrics], []
    else:
        runner.train()
        curve, balance = read_log(runner)
    content = dict(
        row=row,
        seed=seed,
        iterations=cfg.train_cfg.max_iters,
        seconds=round(time.time() - begin),
        torch=torch.__version__,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu',
        curve=curve,
        balance=balance,
    )
    part = result.with_suffix('.part')
    part.write_text(json.dumps(content) + '\n')
    part.replace(result)


def read_log(runner) -> tuple[list[dict], list[dict]]:
    """The metrics of each validation of a training, and the weights of the losses over time."""
    scalars = Path(runner.log_dir) / 'vis_data' / 'scalars.json'
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    curve = [
        {'iter': line['step']} | {key.rpartition('/')[2]: value for key, value in line.items() if '/val/' in key}
        for line in lines
        if any('/val/' in name for name in line)
    ]
    balance = [
        {'iter': line['step']} | {name: line[name] for name in line if name.startswith('balance/weight_')}
        for line in lines
        if 'loss' in line
    ]
    return curve, [entry for entry in balance if len(entry) > 1]


def keep_start(weights: Path, target: Path) -> None:
    """Save what rows start from of a trained network: text encoder and Swin, without gates."""
    import torch

    from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of

    state = state_dict_of(read_checkpoint(weights))
    kept = {name: t for name, t in state.items() if name.startswith(START_PARTS) and '.gates.' not in name}
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=kept, meta={}), target)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    work_dir = Path(args.work_dir)
    rows = args.rows or [row for row in ROWS if any(row in GROUPS[group] for group in args.groups or GROUPS)]
    if args.iterations and not any(ROWS[row].whole for row in rows):
        raise UserError('--iterations is for whole trainings (the groups modelling and modelling-crowded) only.')
    # Seed by seed, so that an interrupted run gives complete tables of fewer seeds.
    runs = [(row, seed) for seed in args.seeds for row in rows]
    left = [(row, seed) for row, seed in runs if not result_file(row, seed, args.results).exists()]
    print(f'{len(runs)} runs, {len(runs) - len(left)} of them finished', flush=True)
    args.results.mkdir(parents=True, exist_ok=True)
    from mmuniqrnet.datasets.refshapes import make_refshapes

    if any(ROWS[row].crowded for row, _ in left):
        make_refshapes(args.data_root, num_images=NUM_IMAGES, crowded=True)
    if any(ROWS[row].whole and not ROWS[row].crowded for row, _ in left):
        make_refshapes(args.start_data_root)

    os.environ['OMP_NUM_THREADS'] = '1'
    # Every run is a process. Without a GPU it is forked from one that has imported everything; these imports look for a
    # GPU, and CUDA does not work in a process forked after that.
    import torch

    processes: Any = multiprocessing.get_context('spawn' if torch.cuda.is_available() else 'forkserver')
    processes.set_forkserver_preload(
        [
            'mmuniqrnet.models',
            'mmuniqrnet.datasets',
            'mmuniqrnet.engine',
            'mmuniqrnet.evaluation',
            'mmuniqrnet.visualization',
            'mmengine.runner',
        ]
    )

    def launch(run: tuple[str, int]) -> int:
        row, seed = run
        tested = ROWS[row].tests
        if tested and not weights_of(tested, seed, work_dir).exists():
            print(
                f'{row} seed {seed}: not run, it needs {weights_of(tested, seed, work_dir)}; train {tested} with this '
                '--work-dir and other --results first',
                flush=True,
            )
            return 1
        folder = work_dir / row / f'seed{seed}'
        folder.mkdir(parents=True, exist_ok=True)
        data_root = args.data_root if ROWS[row].crowded else args.start_data_root
        begin = time.time()
        process = processes.Process(
            target=train,
            args=(row, seed, data_root, folder, result_file(row, seed, args.results), args.iterations, args.workers),
        )
        process.start()
        process.join()
        said = 'done' if process.exitcode == 0 else f'FAILED, see {folder / "output.log"}'
        print(f'{time.strftime("%H:%M:%S")} {row} seed {seed}: {said} ({time.time() - begin:.0f} s)', flush=True)
        return process.exitcode

    starts = {ROWS[row].start for row, _ in left} - {None}
    if 'start' in starts and not STARTS['start'].exists():
        print(f'{STARTS["start"]} does not exist: it is trained first', flush=True)
        make_refshapes(args.start_data_root)
        if launch(('start', START_SEED)):
            raise UserError('the training of start.pth failed, from which the rows start.')
        keep_start(weights_of('start', START_SEED, work_dir), STARTS['start'])
    for name in starts:
        keep_start(STARTS[name], work_dir / f'{name}.pth')
    with ThreadPoolExecutor(args.jobs) as pool:
        codes = list(pool.map(launch, [run for run in left if not ROWS[run[0]].tests]))
        codes += pool.map(launch, [run for run in left if ROWS[run[0]].tests])
    if any(codes):
        raise UserError(f'{sum(map(bool, codes))} runs failed; the same command tries them again.')


if __name__ == '__main__':
    run_tool(main)

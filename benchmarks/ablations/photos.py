"""Train the rows of the ablations on photographs; finished runs are skipped.

    python benchmarks/ablations/photos.py --start NAMES.pth --results mine     # every row with its seeds
    python benchmarks/ablations/photos.py --start NAMES.pth --results short --rows joint masks --seeds 0 --iterations 50
    python benchmarks/ablations/photos.py --table --results mine               # the table of the results, as Markdown

tools/photos.py makes the data and NAMES.pth, the checkpoint of its training on names, from which every row starts
(without its box branch, which rows change). Rows change uniqrnet_efficientnet-lite0_photos.py: the options in PLAIN
apply to every row, unless the row sets them. The model after the last iteration is reported, on the photographs kept
back. With a GPU, runs in parallel share it. A run writes RESULTS/ROW_seedN.json, and its log and weights into
work_dirs/ablations-photos/ROW/seedN.
"""

import argparse
import copy
import hashlib
import json
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rows import NO_GUIDANCE, NO_TEXT
from rows import NO_MASK as NO_MASKS

from mmuniqrnet.config import positive_int
from mmuniqrnet.utils.errors import MissingFileError, UserError, run_tool
from mmuniqrnet.utils.tables import markdown_table

CONFIG = Path(__file__).parents[2] / 'configs' / 'uniqrnet_efficientnet-lite0_photos.py'
# Of this repository; those of other seeds, from another start, are in results-photos-seeds (docs/photos.md).
RESULTS = Path(__file__).parent / 'results-photos'
WARM_UP = 50
# Three seeds where rows are compared with each other, one elsewhere.
SEEDS = {'joint': 3, 'boxes': 3, 'masks': 3, 'fixed-1': 3}
METRICS = {
    'Acc@0.5': 'photos/val/Acc@0.5',
    'mIoU': 'photos/val/mIoU',
    'Acc@0.5, several': 'photos_several/val/Acc@0.5',
    'mIoU, several': 'photos_several/val/mIoU',
}

NO_BOX = {
    'model.head.box_branch': None,
    'model.head.loss_box_l1': None,
    'model.head.loss_box_giou': None,
    'model.head.box_from_mask': False,
    'custom_hooks.0.tasks': dict(_delete_=True, mask=('loss_mask', 'd?.loss_mask'), aux='loss_aux'),
}
NO_MASK = NO_MASKS | {'model.head.deep_supervision': False}
EXTENT = {'model.head.loss_mask_extent': dict(type='BoxMaskConsistencyLoss')}
REFINED = {'model.head.box_refiner': dict(type='BoxRefiner', embed_dims=128, in_channels=128)}
DENSE = {
    'model.head.box_branch': dict(_delete_=True, type='DenseBoxBranch', embed_dims=128),
    'model.head.box_from_mask': False,
    'model.head.loss_box_choice': 1.0,
}
TASKS = dict(box='loss_box', mask=('loss_mask', 'd?.loss_mask'), aux='loss_aux')
TWO_TASKS = dict(box='loss_box', mask=('loss_mask', 'd?.loss_mask', 'loss_aux'))


def balance(tasks: dict = TASKS, **strategy: Any) -> dict[str, Any]:
    return {'custom_hooks': [dict(type='LossBalanceHook', strategy=strategy, tasks=tasks)]}


# What all rows have unless they say otherwise; the config has what the shipped network was trained with.
PLAIN = {
    'model.head.box_refiner': None,
    'model.head.loss_mask_extent': None,
    'optim_wrapper.paramwise_cfg.custom_keys': {'backbone.body': dict(lr_mult=0.2), 'text_encoder': dict(lr_mult=0.1)},
}
# From name to title and options.
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    'joint': ('boxes and masks, uncertainty with three tasks', {}),
    'boxes': ('boxes only, from [REG], without pixel supervision', NO_MASK | NO_GUIDANCE),
    'masks': ('masks only, of the objects that have one', NO_BOX),
    'joint-plain': (
        'joint, no pixel supervision of stages',
        NO_GUIDANCE | {'custom_hooks.0.tasks': dict(_delete_=True, box='loss_box', mask=('loss_mask', 'd?.loss_mask'))},
    ),
    'gates-none': ('joint, text-agnostic backbone and neck', NO_TEXT),
    **{
        f'fixed-{w:g}': (
            f'joint, fixed weights, box {w:g}',
            balance(type='fixed', weights=dict(box=w, mask=1.0, aux=1.0)),
        )
        for w in (0.2, 1, 5)
    },
    'magnitude': ('joint, magnitude', balance(type='magnitude')),
    'uncertainty-two': ('joint, uncertainty with two tasks', balance(TWO_TASKS, type='uncertainty')),
    'no-place': ('joint, without `place_in_image`', {'model.head.encoder.place_in_image': False}),
    'refined': ('joint, box corrected from the features around it (`BoxRefiner`)', REFINED),
    'extent': ('joint, masks also from boxes (`loss_mask_extent`)', EXTENT),
    'dense': ('joint, box from a choice of tokens (`DenseBoxBranch`)', DENSE),
    'dense-extent': ('joint, box from a choice of tokens, masks also from boxes', DENSE | EXTENT),
    'refined-extent': ('joint, box corrected, masks also from boxes', REFINED | EXTENT),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--start', type=Path, help='checkpoint of the training on names')
    parser.add_argument('--rows', nargs='+', choices=ROWS, metavar='ROW', help=f'which rows: {", ".join(ROWS)}')
    parser.add_argument(
        '--seeds', nargs='+', type=int, help='default: 0, 1, 2 for joint, boxes, masks and fixed-1, 0 else'
    )
    parser.add_argument('--iterations', type=positive_int, default=600, metavar='N', help='default: 600')
    parser.add_argument(
        '--jobs',
        type=positive_int,
        default=1,
        help='runs in parallel, which share cores and GPU (default: 1)',
    )
    parser.add_argument('--data-dir', type=Path, default=Path('data'), help='as in tools/photos.py (default: data)')
    parser.add_argument(
        '--results', type=Path, default=RESULTS, help='folder of the results; existing ones are not run again'
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/ablations-photos'))
    parser.add_argument('--table', action='store_true', help='only print the table of the results')
    return parser.parse_args(argv)


def config_of(row: str, seed: int, iterations: int, data_dir: Path, start: Path, work_dir: Path):
    """The config of one run."""
    from mmuniqrnet.config import load_config

    cfg = load_config(str(CONFIG), work_dir=str(work_dir))
    cfg.val_dataloader.dataset = copy.deepcopy(cfg.test_dataloader.dataset)
    for part in ('train', 'val', 'test'):
        for dataset in cfg[f'{part}_dataloader'].dataset.datasets:
            dataset.data_root = f'{data_dir / "photos"}/'
    cfg.model.text_encoder.model = str(data_dir / 'photo_parts' / 'text_encoder')
    cfg.model.backbone.body.init_cfg.checkpoint = str(data_dir / 'photo_parts' / 'efficientnet-lite0.pth')
    warm_up, cosine = cfg.param_scheduler
    warm_up.end = cosine.begin = min(WARM_UP, iterations // 2)
    cosine.update(end=iterations, T_max=iterations - cosine.begin)
    cfg.train_cfg.update(max_iters=iterations, val_interval=iterations)
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=iterations, save_optimizer=False, save_param_scheduler=False
    )
    cfg.default_hooks.visualization.val_examples = 0
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    cfg.randomness = dict(seed=seed)
    cfg.load_from = str(start)
    cfg.merge_from_dict(copy.deepcopy(PLAIN | ROWS[row][1]))  # mmengine removes _delete_ from what it merges
    return cfg


def train(
    row: str,
    seed: int,
    iterations: int,
    data_dir: Path,
    start: Path,
    work_dir: Path,
    result: Path,
    threads: int,
    start_digest: str,
) -> None:
    """One run in this process; its output goes to output.log."""
    import torch
    from mmengine.runner import Runner

    log = os.open(work_dir / 'output.log', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(threads)
    begin = time.time()
    runner = Runner.from_cfg(config_of(row, seed, iterations, data_dir, start, work_dir))
    runner.train()
    scalars = Path(runner.log_dir) / 'vis_data' / 'scalars.json'
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    content = dict(
        row=row,
        seed=seed,
        iterations=iterations,
        start=start_digest,
        seconds=round(time.time() - begin),
        torch=torch.__version__,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu',
        metrics={key: value for line in lines for key, value in line.items() if '/val/' in key},
    )
    part = result.with_suffix('.part')
    part.write_text(json.dumps(content) + '\n')
    part.replace(result)


def keep_start(checkpoint: Path, target: Path) -> str:
    """Save the weights of a checkpoint without those of box branch and refiner; returns their digest."""
    import torch

    from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of

    state = state_dict_of(read_checkpoint(checkpoint))
    changed = ('head.box_branch.', 'head.box_refiner.')
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(changed)}
    torch.save(dict(state_dict=kept, meta={}), target)
    content = hashlib.sha256()
    for name, tensor in sorted(kept.items()):
        content.update(name.encode() + tensor.float().numpy().tobytes())
    return content.hexdigest()[:16]


def is_finished(result: Path, iterations: int, start_digest: str) -> bool:
    """Whether there is a result of the same training.

    Raises:
        UserError: There is one of another length or from another start.
    """
    if not result.exists():
        return False
    content = json.loads(result.read_text())
    if (content['iterations'], content['start']) != (iterations, start_digest):
        raise UserError(
            f'{result} is of {content["iterations"]} iterations from the start {content["start"]}, and this would be '
            f'of {iterations} from {start_digest}: name another folder with --results.'
        )
    return True


def table(folder: Path) -> str:
    """The means over the seeds, ± their standard deviation (n - 1), in per cent, in the order of ROWS."""
    found = defaultdict(list)
    for path in sorted(folder.glob('*_seed*.json')):
        content = json.loads(path.read_text())
        found[content['row']].append(content)
    rows = []
    for row in (row for row in ROWS if row in found):
        lengths = sorted({content['iterations'] for content in found[row]})
        cells = {'row': f'`{row}`', 'what': ROWS[row][0], 'iterations': ' to '.join(map(str, lengths))}
        for title, key in METRICS.items():
            values = [content['metrics'][key] for content in found[row] if key in content['metrics']]
            spread = f' ± {np.std(values, ddof=1):.1f}' if len(values) > 1 else ''
            cells[title] = f'{np.mean(values):.1f}{spread}' if values else ''
        rows.append(cells | {'seeds': len(found[row])})
    return markdown_table(rows, right=(*METRICS, 'seeds'))


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.table:
        print(table(args.results))
        return
    if args.start is None:
        raise UserError('give --start, the checkpoint of the training on names (tools/photos.py makes it).')
    for path in (args.start, args.data_dir / 'photos' / 'train.jsonl', args.data_dir / 'photo_parts'):
        if not path.exists():
            raise MissingFileError(f'there is no {path}; tools/photos.py makes it.')
    most = max(args.seeds or [max(SEEDS.values()) - 1]) + 1
    runs = [
        (row, seed)
        for seed in args.seeds or range(most)  # seed by seed, so that an interrupted run gives whole tables
        for row in args.rows or ROWS
        if args.seeds or seed < SEEDS.get(row, 1)
    ]
    args.results.mkdir(parents=True, exist_ok=True)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    start = args.work_dir / 'start.pth'
    start_digest = keep_start(args.start, start)
    left = [run for run in runs if not is_finished(result_file(*run, args.results), args.iterations, start_digest)]
    print(f'{len(runs)} runs, {len(runs) - len(left)} of them finished', flush=True)
    threads = max(len(os.sched_getaffinity(0)) // args.jobs, 1)
    os.environ['OMP_NUM_THREADS'] = str(threads)
    processes: Any = multiprocessing.get_context('spawn')

    def launch(run: tuple[str, int]) -> int:
        row, seed = run
        folder = args.work_dir / row / f'seed{seed}'
        folder.mkdir(parents=True, exist_ok=True)
        begin = time.time()
        process = processes.Process(
            target=train,
            args=(
                row,
                seed,
                args.iterations,
                args.data_dir,
                start,
                folder,
                result_file(row, seed, args.results),
                threads,
                start_digest,
            ),
        )
        process.start()
        process.join()
        said = 'done' if process.exitcode == 0 else f'FAILED, see {folder / "output.log"}'
        print(f'{time.strftime("%H:%M:%S")} {row} seed {seed}: {said} ({time.time() - begin:.0f} s)', flush=True)
        return process.exitcode

    with ThreadPoolExecutor(args.jobs) as pool:
        codes = list(pool.map(launch, left))
    if any(codes):
        raise UserError(f'{sum(map(bool, codes))} runs failed; the same command tries them again.')


def result_file(row: str, seed: int, results: Path) -> Path:
    return results / f'{row}_seed{seed}.json'


if __name__ == '__main__':
    run_tool(main)

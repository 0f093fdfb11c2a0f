"""Train a small UniQRNet on annotated photographs without expressions: the whole workflow.

It makes the pre-trained parts, mosaics and expressions, trains first on names, then on expressions, and then at a
larger size, tests on the held-out photographs, and publishes the weights. An interrupted run continues where it
stopped, if it is started again with the same files and options; with others it is refused.
"""

import argparse
import json
import math
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from mmuniqrnet.config import CFG_OPTIONS_HELP, add_cfg_options, load_config, positive_int
from mmuniqrnet.datasets.annotation_files import load_json
from mmuniqrnet.datasets.coco_files import check_coco
from mmuniqrnet.utils.errors import MissingFileError, UserError, run_tool
from mmuniqrnet.utils.made_from import digest, keep_made_from
from mmuniqrnet.utils.steps import run_script, say_step

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs'
NAMES = CONFIGS / 'uniqrnet_efficientnet-lite0_photos-names.py'
EXPRESSIONS = CONFIGS / 'uniqrnet_efficientnet-lite0_photos.py'
LARGER = CONFIGS / 'uniqrnet_efficientnet-lite0_photos-320.py'
DATA = ('names', 'train', 'mosaics', 'val', 'val_several')
SPECIAL = ',()[]"\''  # they have a meaning in the values of --cfg-options


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('train', type=Path, metavar='TRAIN.json', help="annotations to train on, in COCO's format")
    parser.add_argument('val', type=Path, metavar='VAL.json', help='annotations of other images, to test on')
    parser.add_argument('--images', type=Path, required=True, metavar='DIR', help='folder of the images of both')
    parser.add_argument(
        '--data-dir', type=Path, default=Path('data'), help='folder for photos/ and photo_parts/ (default: data)'
    )
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/photos'), help='folder for all results (default: %(default)s)'
    )
    parser.add_argument(
        '--mosaics', type=positive_int, default=1500, metavar='N', help='number of mosaics (default: 1500)'
    )
    parser.add_argument(
        '--per-object', type=positive_int, default=8, metavar='N', help='most expressions of an object (default: 8)'
    )
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='seed of data and training (default: 0)')
    parser.add_argument(
        '--batch-size', type=positive_int, metavar='N',
        help='expressions in a step, such as 256 on a GPU, instead of the number in the configs (32); the trainings '
        'have proportionally fewer steps, and the learning rate is multiplied by the square root of N/32',
    )  # fmt: skip
    # As text, to be passed on to all trainings and the test.
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    photos, parts, work_dir = args.data_dir / 'photos', args.data_dir / 'photo_parts', args.work_dir
    check_arguments(args)
    keep_settings(args, photos)

    say_step('1/6  The pre-trained parts: EfficientNet-Lite0 and two layers of MiniLM')
    once(parts, lambda: run_script(TOOLS / 'model_converters/photo_parts.py', parts))

    say_step('2/6  Mosaics and expressions, made from the annotations (10 minutes on two CPU cores)')
    link(photos / 'images', args.images)
    mosaics, seed = photos / 'mosaics', ('--seed', args.seed)
    side = ('--side', 352)
    once(
        mosaics,
        lambda: run_script(
            TOOLS / 'dataset_tools/mosaics.py', args.train, mosaics, '--images', args.images, '--count', args.mosaics,
            *side, *seed,
        ),
    )  # fmt: skip
    per_object = ('--per-object', args.per_object)
    plural = ('--kinds', 'plural', '--fill-boxes')
    for name, source, images, options in (
        ('names', args.train, args.images, plural),
        ('train', args.train, args.images, per_object),
        ('mosaics', mosaics / 'instances.json', mosaics / 'images', per_object),
        ('val', args.val, args.images, ()),
        ('val_several', args.val, args.images, ('--several',)),
    ):
        describe(photos / f'{name}.jsonl', source, images, *options, *seed)

    def options_of(config: Path) -> list[str]:
        return [
            *data_options(config, photos),
            f'model.text_encoder.model={parts / "text_encoder"}',
            f'model.backbone.body.init_cfg.checkpoint={parts / "efficientnet-lite0.pth"}',
            f'randomness.seed={args.seed}',
            *batch_options(config, args.batch_size),
            *args.cfg_options,
        ]

    say_step('3/6  Training on names and plurals: what things are')
    train(NAMES, work_dir / 'names', options_of(NAMES))
    say_step('4/6  Training on expressions: which one of them')
    first = last_checkpoint(work_dir / 'names')
    smaller, larger = work_dir / 'expressions', work_dir / 'larger'
    train(EXPRESSIONS, smaller, [*options_of(EXPRESSIONS), f'load_from={first}'])
    say_step('5/6  Training on expressions at 320 pixels')
    train(LARGER, larger, [*options_of(LARGER), f'load_from={best_checkpoint(smaller)}'])
    say_step('6/6  Testing the best checkpoint, and publishing it')
    best = best_checkpoint(larger)
    run_script(TOOLS / 'test.py', LARGER, best, '--work-dir', work_dir, '--cfg-options', *options_of(LARGER))
    weights = work_dir / 'uniqrnet_efficientnet-lite0_photos.safetensors'
    run_script(
        TOOLS / 'publish.py', best, weights, '--results', work_dir / 'results.json', '--made-for', 'photographs',
        '--words', words(photos), '--half', '--overwrite',
    )  # fmt: skip
    print(f'\nTable:   {work_dir / "results.md"}\nWeights: {weights}')


def check_arguments(args: argparse.Namespace) -> None:
    """Check what the steps need before the first of them runs.

    Raises:
        UserError: A file or folder is missing, or an argument has no effect or is out of range.
    """
    for path in (args.train, args.val):
        if not path.is_file():
            raise MissingFileError(f"there is no file {path}: give annotations in COCO's format.")
    if not args.images.is_dir():
        raise MissingFileError(f'--images {args.images}: there is no such folder.')
    if args.seed < 0:
        raise UserError(f'--seed {args.seed}: it must be 0 or more.')
    for option, folder in (('--data-dir', args.data_dir), ('--work-dir', args.work_dir)):
        if set(str(folder)) & set(SPECIAL):
            raise UserError(f'{option} {folder}: give a folder without {" ".join(SPECIAL)} in its path.')
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    if args.cfg_options:
        options = parser.parse_args(['--cfg-options', *args.cfg_options]).cfg_options
        if args.batch_size is not None and 'train_dataloader.batch_size' in options:
            raise UserError('give either --batch-size or train_dataloader.batch_size, not both.')
        for config in (NAMES, EXPRESSIONS, LARGER):
            load_config(str(config), options)


def keep_settings(args: argparse.Namespace, photos: Path) -> None:
    """Write down what data and training are made from, or check that it is the same as before.

    Raises:
        UserError: A folder holds something that is made from something else.
    """
    data = {
        'TRAIN.json': digest(args.train),
        'VAL.json': digest(args.val),
        '--images': str(args.images.resolve()),
        '--mosaics': str(args.mosaics),
        '--per-object': str(args.per_object),
        '--seed': str(args.seed),
    }
    names = ('images', 'mosaics', *(f'{name}.jsonl' for name in DATA))
    if not (photos / 'made_from.json').exists():
        refuse_shared_images(args.train, args.val)
    keep_made_from(photos, data, '--data-dir', names)
    run = {**data, '--cfg-options': shlex.join(args.cfg_options)}
    if args.batch_size is not None:
        run['--batch-size'] = str(args.batch_size)
    keep_made_from(args.work_dir, run, '--work-dir', ('names', 'expressions', 'larger', 'last_checkpoint', 'finished'))


def refuse_shared_images(train: Path, val: Path) -> None:
    """Refuse to test on images that are trained on.

    Raises:
        UserError: The files name the same image, or are malformed.
    """
    images = []
    for path in (train, val):
        content = load_json(str(path))
        check_coco(content, str(path), categories=True, unique=('images', 'categories'))
        images.append({os.path.normpath(image['file_name']) for image in content['images']})
    shared = images[0] & images[1]
    if shared:
        raise UserError(
            f'{train} and {val} have {len(shared):,} image(s) in common, such as {min(shared)}: test on other images '
            'than those of the training.'
        )


def once(path: Path, make: Callable[[], None]) -> None:
    """Call ``make`` unless what it makes is there; every tool writes its file or folder whole or not at all."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        print(f'{path} is there; delete it to make it again.', flush=True)
    else:
        make()


def link(link_to: Path, images: Path) -> None:
    """Let ``link_to`` point to the folder of the images, which is not copied."""
    if not link_to.is_symlink():
        link_to.symlink_to(os.path.abspath(images), target_is_directory=True)


def describe(target: Path, source: Path, images: Path, *options: object) -> None:
    once(
        target,
        lambda: run_script(TOOLS / 'dataset_tools/describe.py', source, target, '--images', images, *options),
    )


def data_options(config: Path, photos: Path) -> list[str]:
    """The options that let the data sets of a config be read from this folder."""
    train = (
        ['train_dataloader.dataset'] if config == NAMES else [f'train_dataloader.dataset.datasets.{i}' for i in (0, 1)]
    )
    others = ['val_dataloader.dataset', *(f'test_dataloader.dataset.datasets.{i}' for i in (0, 1))]
    return [f'{place}.data_root={photos}/' for place in (*train, *others)]


def batch_options(config: Path, size: int | None) -> list[str]:
    """The options for another batch size: as many expressions as before, in fewer or more steps.

    With N times the batch, the steps of training, warm-up and validation are divided by N, and the learning rate is
    multiplied by the square root of N (for Adam: Malladi et al., arXiv:2205.10287).
    """
    if size is None:
        return []
    cfg = load_config(str(config))
    times = size / cfg.train_dataloader.batch_size
    warm_up = max(round(cfg.param_scheduler[0].end / times), 1)
    steps = max(round(cfg.train_cfg.max_iters / times), warm_up + 1)
    return [
        f'train_dataloader.batch_size={size}',
        f'train_cfg.max_iters={steps}',
        f'train_cfg.val_interval={min(math.ceil(cfg.train_cfg.val_interval / times), steps)}',
        f'param_scheduler.0.end={warm_up}',
        f'param_scheduler.1.begin={warm_up}',
        f'param_scheduler.1.end={steps}',
        f'param_scheduler.1.T_max={steps - warm_up}',
        f'param_scheduler.1.eta_min={cfg.param_scheduler[1].eta_min * times**0.5:.6g}',
        f'optim_wrapper.optimizer.lr={cfg.optim_wrapper.optimizer.lr * times**0.5:.6g}',
    ]


def train(config: Path, work_dir: Path, options: Sequence[str]) -> None:
    if (work_dir / 'finished').exists():
        print(f'{work_dir} holds a finished training; delete it to train again.', flush=True)
    else:
        run_script(TOOLS / 'train.py', config, '--work-dir', work_dir, '--resume', '--cfg-options', *options)
        (work_dir / 'finished').touch()


def last_checkpoint(work_dir: Path) -> Path:
    """The last checkpoint of a training.

    Raises:
        UserError: It is not there any more.
    """
    note = work_dir / 'last_checkpoint'
    path = work_dir / Path(note.read_text().strip()).name if note.is_file() else note
    if not path.is_file():
        raise MissingFileError(f'{path} is missing: delete {work_dir} to train it again.')
    return path


def best_checkpoint(work_dir: Path) -> Path:
    """The checkpoint with the best validation, of the last one if several are kept.

    Raises:
        UserError: There is none.
    """
    found = sorted(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    if not found:
        raise MissingFileError(
            f'{work_dir} has no best_*.pth, because no validation ran: give another --work-dir, and a '
            'train_cfg.val_interval of at most train_cfg.max_iters.'
        )
    return found[-1]


def words(photos: Path) -> Path:
    """A text file of all expressions that were trained on."""
    path = photos / 'words.txt'
    lines = [
        line for name in ('names', 'train', 'mosaics') for line in (photos / f'{name}.jsonl').open(encoding='utf-8')
    ]
    path.write_text('\n'.join(one for line in lines for one in json.loads(line)['expressions']), encoding='utf-8')
    return path


if __name__ == '__main__':
    run_tool(main)

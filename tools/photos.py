"""Train a small UniQRNet on annotated photographs without expressions: the whole workflow.

It makes the pre-trained parts, mosaics and expressions, trains first on names and then on expressions, tests on the
photographs kept back, and publishes the weights. An interrupted run continues where it stopped.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mmuniqrnet.config import CFG_OPTIONS_HELP, positive_int
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.steps import run_script, say_step

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs'
NAMES = CONFIGS / 'uniqrnet_efficientnet-lite0_photos-names.py'
EXPRESSIONS = CONFIGS / 'uniqrnet_efficientnet-lite0_photos.py'


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
    parser.add_argument('--mosaics', type=positive_int, default=1500, metavar='N', help='mosaics (default: 1500)')
    parser.add_argument(
        '--per-object', type=positive_int, default=8, metavar='N', help='most expressions of an object (default: 8)'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of data and training (default: 0)')
    # As text, to be passed on to both trainings and the test.
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    photos, parts, work_dir = args.data_dir / 'photos', args.data_dir / 'photo_parts', args.work_dir
    photos.mkdir(parents=True, exist_ok=True)

    say_step('1/5  The pre-trained parts: EfficientNet-Lite0 and two layers of MiniLM')
    once(parts, lambda: run_script(TOOLS / 'model_converters/photo_parts.py', parts))

    say_step('2/5  Mosaics and expressions, made from the annotations (10 minutes on two CPU cores)')
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

    options = [
        f'model.text_encoder.model={parts / "text_encoder"}',
        f'model.backbone.body.init_cfg.checkpoint={parts / "efficientnet-lite0.pth"}',
        f'randomness.seed={args.seed}',
        *args.cfg_options,
    ]
    say_step('3/5  Training on names and plurals: what things are')
    train(NAMES, work_dir / 'names', data_options(NAMES, photos), options)
    say_step('4/5  Training on expressions: which one of them')
    first = last_checkpoint(work_dir / 'names')
    train(EXPRESSIONS, work_dir, data_options(EXPRESSIONS, photos), [*options, f'load_from={first}'])
    say_step('5/5  Testing the best checkpoint, and publishing it')
    best = max(work_dir.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    test = ('--cfg-options', *data_options(EXPRESSIONS, photos), *options)
    run_script(TOOLS / 'test.py', EXPRESSIONS, best, '--work-dir', work_dir, *test)
    weights = work_dir / 'uniqrnet_efficientnet-lite0_photos.safetensors'
    run_script(
        TOOLS / 'publish.py', best, weights, '--results', work_dir / 'results.json', '--made-for', 'photographs',
        '--words', words(photos), '--half', '--overwrite',
    )  # fmt: skip
    print(f'\nTable:   {work_dir / "results.md"}\nWeights: {weights}')


def once(path: Path, make: Callable[[], None]) -> None:
    """Call ``make`` unless what it makes is there; every tool writes its file or folder whole or not at all."""
    if path.exists():
        print(f'{path} is there; delete it to make it again.', flush=True)
    else:
        make()


def link(link_to: Path, images: Path) -> None:
    """Let ``link_to`` point to the folder of the images, which is not copied."""
    if not link_to.exists():
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


def train(config: Path, work_dir: Path, data: Sequence[str], options: Sequence[str]) -> None:
    if (work_dir / 'finished').exists():
        print(f'{work_dir} holds a finished training; delete it to train again.', flush=True)
    else:
        run_script(TOOLS / 'train.py', config, '--work-dir', work_dir, '--resume', '--cfg-options', *data, *options)
        (work_dir / 'finished').touch()


def last_checkpoint(work_dir: Path) -> Path:
    return Path((work_dir / 'last_checkpoint').read_text().strip())


def words(photos: Path) -> Path:
    """A text file of all expressions that were trained on."""
    import json

    path = photos / 'words.txt'
    lines = [
        line for name in ('names', 'train', 'mosaics') for line in (photos / f'{name}.jsonl').open(encoding='utf-8')
    ]
    path.write_text('\n'.join(one for line in lines for one in json.loads(line)['expressions']), encoding='utf-8')
    return path


if __name__ == '__main__':
    run_tool(main)

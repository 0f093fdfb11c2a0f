"""The ``mmuniqrnet`` command. What takes seconds to import is imported only by the subcommand that needs it."""

import argparse
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from .commands import convert, describe, get, score, serve
from .utils.shipped import DEFAULT_WEIGHTS_HELP
from .version import __version__

EDGES = ('x1', 'y1', 'x2', 'y2')

DESCRIPTION = """Find the object that an expression names: its box and its mask.

  mmuniqrnet scene scene.png                     make an example image, and print expressions for its objects
  mmuniqrnet ground scene.png "the red star"     find the box and the mask of the object that is named
  mmuniqrnet web                                 the same as ground, on a web page
  mmuniqrnet serve                               the same as ground, for programs, over HTTP
  mmuniqrnet get refcoco                         download the annotations of RefCOCO from the Hugging Face hub
  mmuniqrnet describe instances.json train.jsonl make expressions from boxes and categories
  mmuniqrnet score found.jsonl --data CONFIG     evaluate the predictions of any system
  mmuniqrnet compare one.jsonl other.jsonl       compare two evaluations
  mmuniqrnet convert IN OUT --from F --to F      labels from and for Label Studio, CVAT, FiftyOne, COCO
  mmuniqrnet env                                 versions, problems of the environment, and how to fix them"""


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser()
    if not argv:
        parser.print_help()
        return
    if argv[0] == 'web':  # it has its own parser
        from .web import main as web

        _run(lambda: web(argv[1:]))
        return
    args = parser.parse_args(argv)
    if args.command == 'ground':
        problem = problem_of_ground(args)
        if problem:
            parser.error(problem)
    _run(lambda: args.run(args))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='mmuniqrnet', description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--version', action='version', version=f'mmuniqrnet {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, title='commands')

    ground_parser = commands.add_parser(
        'ground',
        help='find the objects that expressions name in an image',
        description='Find the objects that expressions name in an image. Without --weights, a small model for '
        'photographs is used; for images that "mmuniqrnet scene" made, a model for these scenes.',
    )
    ground_parser.add_argument('image', metavar='IMAGE', help='image file, or a folder of images')
    ground_parser.add_argument('expressions', metavar='EXPRESSION', nargs='*', help='such as "the red star"')
    ground_parser.add_argument('--config', help='config file (default: the one in the weights file)')
    ground_parser.add_argument('--weights', help=DEFAULT_WEIGHTS_HELP)
    ground_parser.add_argument('--device', help="such as 'cuda:0' (default: a GPU if there is one)")
    ground_parser.add_argument(
        '--batch-size', type=int, default=16, metavar='N', help='expressions per batch (default: 16)'
    )
    ground_parser.add_argument(
        '--refuse-below', type=float, metavar='SCORE', help='return no box and no mask if the score is lower'
    )
    ground_parser.add_argument(
        '--orientation',
        choices=('upright', 'stored'),
        default='upright',
        help='upright: rotate photographs as their EXIF tag says; stored: use the pixels as they are stored. Boxes and '
        'masks refer to these pixels (default: %(default)s)',
    )
    ground_parser.add_argument('--out', metavar='DIR', help='write predictions.json and masks/*.png into this folder')
    ground_parser.add_argument('--draw', action='store_true', help='also write pictures/*.png into --out')
    ground_parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    add_ray_options(ground_parser)
    ground_parser.set_defaults(run=ground)

    scene_parser = commands.add_parser('scene', help='make an example image')
    scene_parser.add_argument('out', metavar='OUT.png', help='file to write')
    scene_parser.add_argument(
        '--seed', type=int, default=1, metavar='N', help='another seed gives another scene (default: 1)'
    )
    scene_parser.set_defaults(run=scene)

    get.add_parsers(commands)
    describe.add_parsers(commands)
    score.add_parsers(commands)
    convert.add_parsers(commands)
    serve.add_parsers(commands)
    commands.add_parser('web', help='the same as ground, on a web page', add_help=False)
    commands.add_parser('env', help='versions, problems of the environment, and how to fix them').set_defaults(run=env)
    return parser


def add_ray_options(ground_parser: argparse.ArgumentParser) -> None:
    """The options for very many images."""
    group = ground_parser.add_argument_group(
        'very many images',
        'Use all cores of this machine, or a cluster, through the package Ray. IMAGE may also be a JSON Lines or '
        'parquet file that contains the expressions. --out is required; the answers are written there as parquet '
        'files. If the command is interrupted, the same command continues where it ended.',
    )
    group.add_argument('--ray', action='store_true', help='use Ray; the options below need this option')
    group.add_argument('--workers', type=int, metavar='N', help='number of processes (default: as many as fit)')
    group.add_argument('--cpus-per-worker', type=float, metavar='N', help='CPU cores of each process (default: 1)')
    group.add_argument(
        '--gpus-per-worker', type=float, metavar='N', help='GPUs of each process (default: 1 if there are any)'
    )
    group.add_argument(
        '--address', help="address of a running Ray cluster, such as 'auto' (default: this machine only)"
    )
    group.add_argument(
        '--images',
        metavar='DIR',
        help='folder that image paths in JSON Lines or parquet are relative to (default: the folder of the file)',
    )
    group.add_argument(
        '--part-rows', type=int, metavar='N', help='rows of the input for each output file (default: 512)'
    )


def problem_of_ground(args: argparse.Namespace) -> str | None:
    """What is missing among the arguments, or has no effect."""
    only = ('workers', 'cpus_per_worker', 'gpus_per_worker', 'address', 'images', 'part_rows')
    given = [name for name in only if getattr(args, name) is not None]
    if not args.ray:
        if given:
            return f'--{given[0].replace("_", "-")} needs --ray'
        if not args.expressions:
            return 'the following arguments are required: EXPRESSION'
        return '--draw needs --out DIR, the folder for the pictures' if args.draw and args.out is None else None
    without = [name for name in ('draw', 'json', 'device') if getattr(args, name)]
    if without:
        why = '; --gpus-per-worker chooses' if without[0] == 'device' else ''
        return f'--{without[0]} has no effect with --ray{why}'
    return '--ray needs --out DIR, the folder for the answers' if args.out is None else None


def ground(args: argparse.Namespace) -> int:
    """Print a table or JSON, and which files were written; the exit status is 1 if an image or expression failed."""
    with _quiet():
        from mmuniqrnet.structures.answers import check_refuse_below

        check_refuse_below(args.refuse_below, '--refuse-below')
    if args.ray:
        with _quiet():
            from mmuniqrnet.apis.scale.command import ground_at_scale

            lines, status = ground_at_scale(args)
        print(*lines, sep='\n')
        return status
    with _quiet():
        from mmuniqrnet.apis.inferencer import UniQRNetInferencer, made_for_of
        from mmuniqrnet.apis.inputs import list_images
        from mmuniqrnet.apis.outputs import to_json

        images = list_images(args.image)
        progress = sys.stderr.isatty() and len(images) * len(args.expressions) > args.batch_size
        ask = UniQRNetInferencer(args.config, args.weights, args.device, show_progress=progress)
        answering = [ask.for_image(image) for image in images]
        for model in dict.fromkeys(answering):
            if model.made_for:
                made_for = f'the model {model.name} was made for {model.made_for}'
                print(f'note: {made_for}; its answers about other pictures are guesses.', file=sys.stderr)
        answers = ask(
            images,
            [args.expressions] * len(images),
            args.batch_size,
            refuse_below=args.refuse_below,
            orientation=args.orientation,
            out_dir=args.out or '',
            draw=args.draw,
        )['predictions']
    if args.json:
        print(to_json(answers, made_for_of(answering)))
    else:
        print(table(answers, with_image=len(images) > 1))
        if args.out:
            print(f'written to {args.out}: {_written(answers)}')
    return int(any('error' in answer for answer in answers))


def table(answers: Sequence[dict[str, Any]], with_image: bool = False) -> str:
    """A row per answer: expression, score, box in pixels, percentage of the image that the mask covers, and a note."""
    from mmuniqrnet.apis.reading import unknown_notes
    from mmuniqrnet.utils.tables import text_table

    rows = []
    for answer in answers:
        name = answer['expression'].strip() or '""'
        row = {'expression': f'{Path(answer["image"]).name}: {name}' if with_image else name}
        if 'error' in answer:
            row['note'] = answer['error']
        else:
            row |= {'score': answer['score'], **dict(zip(EDGES, map(float, answer['box'] or ())))}
            row |= {'mask, %': None if answer['mask'] is None else _share(answer['mask'])}
            notes = ['refused'] if answer['refused'] else []
            row['note'] = '; '.join([*notes, *unknown_notes(answer.get('unknown_words'))])
        rows.append(row)
    columns = ['expression', 'score', *EDGES, 'mask, %']
    if any(row['note'] for row in rows):
        columns.append('note')
    return text_table(rows, columns, decimals=dict.fromkeys([*EDGES, 'mask, %'], 1))


def scene(args: argparse.Namespace) -> int:
    """Draw a scene of RefShapes, and print an expression for each object in it."""
    from mmuniqrnet.utils.errors import UserError
    from mmuniqrnet.utils.io import refuse_overwriting

    out = Path(args.out).expanduser()
    if out.suffix != '.png':
        raise UserError(f'{out}: the scene is written as PNG, so the name must end in .png.')
    refuse_overwriting(out, option=None)
    if args.seed < 0:
        raise UserError(f'--seed {args.seed}: a seed is 0 or more.')
    with _quiet():
        from mmuniqrnet.datasets.refshapes.scene_file import write_scene
        from mmuniqrnet.datasets.refshapes.writer import draw_scene

        picture, _, described = draw_scene(args.seed, 'val', 0)
        write_scene(out, picture)
    texts = [expression.raw for expressions in described for expression in expressions]
    print(f'{out}: a scene with {len(described)} objects, which these expressions name one by one:')
    print('\n'.join(f'  {text}' for text in texts))
    print(f'try: mmuniqrnet ground {shlex.join([str(out), *texts[:2]])}')
    return 0


def env(args: argparse.Namespace) -> int:
    """What ``python -m mmuniqrnet.env`` prints."""
    from .utils.env import report

    return report()


def _run(command: Callable[[], int | None]) -> None:
    """Run a subcommand and exit with its status; errors of the user are printed in one sentence."""
    from mmuniqrnet.utils.errors import run_tool

    run_tool(lambda: sys.exit(command()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Discard stdout, because mmdet prints to it when it is imported, and print warnings as notes of one line."""
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f'note: {message}', file=sys.stderr)
        yield


def _share(mask: dict) -> float:
    """The percentage of the image that an RLE mask covers."""
    from mmuniqrnet.structures.masks import area_share

    return 100 * area_share(mask)


def _written(answers: Sequence[dict[str, Any]]) -> str:
    """What was written to the output folder, in words."""
    counts = {'masks': 'mask_file', 'pictures': 'picture_file'}
    found = {name: sum(key in answer for answer in answers) for name, key in counts.items()}
    return ', '.join(['predictions.json', *(f'{count} in {name}/' for name, count in found.items() if count)])


if __name__ == '__main__':
    main()

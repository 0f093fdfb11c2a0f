"""The ``mmuniqrnet`` command. Whatever takes seconds to import is imported by the command that needs it."""

import argparse
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from .version import __version__

DESCRIPTION = """Say what you mean, get its box and its mask.

  mmuniqrnet scene scene.png                     a picture to try on, and expressions that fit it
  mmuniqrnet ground scene.png "the red star"     the box and the mask of what the expression names
  mmuniqrnet web                                 the same in the browser
  mmuniqrnet env                                 versions, what is wrong with them, and the fix"""


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser()
    if not argv:
        parser.print_help()
        return
    if argv[0] == 'web':  # it has options of its own
        from .web import main as web

        _run(lambda: web(argv[1:]))
        return
    args = parser.parse_args(argv)
    if args.command == 'ground' and args.draw and args.out is None:
        parser.error('--draw needs --out DIR, where the pictures go')
    _run(lambda: args.run(args))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='mmuniqrnet', description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--version', action='version', version=f'mmuniqrnet {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, title='commands')

    ground_parser = commands.add_parser(
        'ground',
        help='find what expressions name in an image',
        description='Find what expressions name in an image. Without --weights a small model answers, which knows the '
        'shapes of RefShapes alone ("mmuniqrnet scene" makes such an image).',
    )
    ground_parser.add_argument('image', metavar='IMAGE', help='image file, or a folder of them')
    ground_parser.add_argument('expressions', metavar='EXPRESSION', nargs='+', help='such as "the red star"')
    ground_parser.add_argument('--config', help='config file (default: the one that the weights carry)')
    ground_parser.add_argument('--weights', help='checkpoint, .safetensors or .pth (default: the small model)')
    ground_parser.add_argument('--device', help="such as 'cuda:0' (default: the best there is)")
    ground_parser.add_argument('--batch-size', type=int, default=16, metavar='N', help='expressions at a time')
    ground_parser.add_argument(
        '--refuse-below', type=float, metavar='SCORE', help='give no box and no mask where the score is lower'
    )
    ground_parser.add_argument('--out', metavar='DIR', help='folder for predictions.json and masks/*.png')
    ground_parser.add_argument('--draw', action='store_true', help='put pictures/*.png into --out, too')
    ground_parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    ground_parser.set_defaults(run=ground)

    scene_parser = commands.add_parser('scene', help='make a picture to try on')
    scene_parser.add_argument('out', metavar='OUT.png', help='file to write')
    scene_parser.add_argument('--seed', type=int, default=1, metavar='N', help='another one, another scene')
    scene_parser.set_defaults(run=scene)

    commands.add_parser('web', help='ask in the browser', add_help=False)
    commands.add_parser('env', help='versions, what is wrong with them, and the fix').set_defaults(run=env)
    return parser


def ground(args: argparse.Namespace) -> int:
    """Ask, print a table or JSON, and say where files went; the exit status is 1 if anything could not be asked."""
    with _quiet():
        from mmuniqrnet.apis.inputs import list_images
        from mmuniqrnet.apis.outputs import to_json

        from .apis import UniQRNetInferencer

        images = list_images(args.image)
        progress = sys.stderr.isatty() and len(images) * len(args.expressions) > args.batch_size
        ask = UniQRNetInferencer(args.config, args.weights, args.device, show_progress=progress)
        answers = ask(
            images,
            [args.expressions] * len(images),
            args.batch_size,
            refuse_below=args.refuse_below,
            out_dir=args.out or '',
            draw=args.draw,
        )['predictions']
    if args.json:
        print(to_json(answers))
    else:
        print('\n'.join(table(answers, with_image=len(images) > 1)))
        if args.out:
            print(f'written to {args.out}: {_written(answers)}')
    return int(any('error' in answer for answer in answers))


def table(answers: Sequence[dict[str, Any]], with_image: bool = False) -> list[str]:
    """A line an answer: expression, score, box in pixels, share of the image that the mask takes."""
    names = [answer['expression'].strip() or '""' for answer in answers]
    if with_image:
        names = [f'{Path(answer["image"]).name}: {name}' for answer, name in zip(answers, names)]
    width = max(map(len, ['expression', *names]))
    lines = [f'{"expression":{width}}  score  {_columns("x1", "y1", "x2", "y2")}     mask']
    return lines + [f'{name:{width}}  {_row(answer)}'.rstrip() for name, answer in zip(names, answers)]


def _row(answer: dict[str, Any]) -> str:
    if 'error' in answer:
        return answer['error']
    if answer['refused']:
        return f'{answer["score"]:5.2f}  refused'
    box = ['-'] * 4 if answer['box'] is None else [f'{edge:.1f}' for edge in answer['box']]
    mask = '-' if answer['mask'] is None else f'{_share(answer["mask"]):.1f} %'
    return f'{answer["score"]:5.2f}  {_columns(*box)}  {mask:>7}'


def _columns(*cells: str) -> str:
    return ' '.join(f'{cell:>7}' for cell in cells)


def scene(args: argparse.Namespace) -> int:
    """Draw a scene of RefShapes, and print an expression for each thing in it."""
    from mmuniqrnet.utils.errors import UserError
    from mmuniqrnet.utils.io import refuse_overwriting

    out = Path(args.out).expanduser()
    if out.suffix != '.png':
        raise UserError(f'{out}: the scene is written as PNG; let the name end in .png.')
    refuse_overwriting(out, option=None)
    if args.seed < 0:
        raise UserError(f'--seed {args.seed}: a seed is 0 or more.')
    with _quiet():
        from PIL import Image

        from mmuniqrnet.datasets.refshapes.writer import draw_scene

        picture, _, described = draw_scene(args.seed, 'val', 0)
        Image.fromarray(picture[..., ::-1]).save(out)
    texts = [expression.raw for expressions in described for expression in expressions]
    print(f'{out}: a scene with {len(described)} things, which these expressions name one by one:')
    print('\n'.join(f'  {text}' for text in texts))
    print(f'ask: mmuniqrnet ground {shlex.join([str(out), *texts[:2]])}')
    return 0


def env(args: argparse.Namespace) -> int:
    """What ``python -m mmuniqrnet.env`` prints."""
    from .utils.env import report

    return report()


def _run(command) -> None:
    from mmuniqrnet.utils.errors import run_tool

    status: list[int | None] = []
    run_tool(lambda: status.append(command()))
    sys.exit(status[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep stdout for the answers, for mmdet chats on it while it is imported. Warnings are notes of one line."""
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f'note: {message}', file=sys.stderr)
        yield


def _share(mask: dict) -> float:
    from mmuniqrnet.structures.masks import area_share

    return 100 * area_share(mask)


def _written(answers: Sequence[dict[str, Any]]) -> str:
    counts = {'masks': 'mask_file', 'pictures': 'picture_file'}
    found = {name: sum(key in answer for answer in answers) for name, key in counts.items()}
    return ', '.join(['predictions.json', *(f'{count} in {name}/' for name, count in found.items() if count)])


if __name__ == '__main__':
    main()

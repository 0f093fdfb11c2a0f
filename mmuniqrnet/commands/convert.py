"""``mmuniqrnet convert``: labels between JSON Lines, COCO, Label Studio, CVAT, FiftyOne; predictions to them."""

import argparse
from typing import Any

from mmuniqrnet.utils.formats import FORMATS, LAYOUTS, PREDICTIONS, UNITS


def add_parsers(commands: Any) -> None:
    """Add the subcommand to the parsers of ``mmuniqrnet``."""
    parser = commands.add_parser(
        'convert',
        help='convert labels from and for labelling tools',
        description='Convert labels between JSON Lines (the format for own data), COCO with expressions, Label Studio, '
        'CVAT and FiftyOne. Predictions become pre-annotations, to be corrected in the tool.',
    )
    parser.add_argument('source', metavar='IN', help='file to read')
    parser.add_argument('target', metavar='OUT', help='file to write')
    parser.add_argument(
        '--from',
        dest='read_as',
        required=True,
        choices=(*FORMATS, *PREDICTIONS),
        help='format of IN; predictions: the file that "mmuniqrnet score" evaluates; answers: predictions.json of '
        '"mmuniqrnet ground --out"',
    )
    parser.add_argument('--to', dest='write_as', required=True, choices=FORMATS, help='format of OUT')
    parser.add_argument(
        '--images', metavar='DIR', help='folder of the images, to take their sizes from, or to compare sizes with them'
    )
    parser.add_argument('--strip-prefix', default='', metavar='TEXT', help='remove this from the paths of images')
    parser.add_argument('--add-prefix', default='', metavar='TEXT', help='add this before the paths of images')
    parser.add_argument('--split', metavar='NAME', help='split of all objects, in place of those in the file')
    parser.add_argument(
        '--skip-unnamed', action='store_true', help='leave out objects without expression (default: an error)'
    )
    parser.add_argument(
        '--questions', metavar='ASK.jsonl', help='for predictions: what "mmuniqrnet score --questions" wrote'
    )
    parser.add_argument(
        '--layout', choices=LAYOUTS, help='for predictions: order of the numbers of a box (default: xyxy)'
    )
    parser.add_argument('--units', choices=UNITS, help='for predictions: unit of boxes and polygons (default: pixels)')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT if it exists')
    parser.set_defaults(run=convert)


def convert(args: argparse.Namespace) -> int:
    """Write the file, and say what is in it and what was left out."""
    from mmuniqrnet.analysis.labelling import Options
    from mmuniqrnet.analysis.labelling import convert as write
    from mmuniqrnet.utils.errors import UserError

    for name in ('layout', 'units'):
        if getattr(args, name) is not None and args.read_as != 'predictions':
            raise UserError(f'--{name} is for predictions, not for {args.read_as}.')
    options = Options(
        images=args.images,
        strip_prefix=args.strip_prefix,
        add_prefix=args.add_prefix,
        split=args.split,
        skip_unnamed=args.skip_unnamed,
        questions=args.questions,
        layout=args.layout or 'xyxy',
        units=args.units or 'pixels',
    )
    objects, notes = write(args.source, args.target, args.read_as, args.write_as, options, args.overwrite)
    images = len({one.image for one in objects})
    expressions = sum(len(one.expressions) for one in objects)
    nothing = sum(len(one.expressions) for one in objects if one.no_target)
    found = sum(not one.no_target for one in objects)
    masks = sum(one.mask is not None for one in objects)
    print(
        f'{args.target}: {images:,} images, {found:,} objects ({masks:,} with a mask), {expressions:,} expressions, '
        f'{nothing:,} of them without target.'
    )
    for note in notes:
        print(f'note: {note}')
    return 0

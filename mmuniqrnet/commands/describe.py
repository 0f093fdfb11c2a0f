"""``mmuniqrnet describe``: referring expressions from detection data (boxes and categories, no sentences)."""

import argparse
from typing import Any

PER_OBJECT = 3
LANGUAGE = 'english'


def add_parsers(commands: Any) -> None:
    """Add the subcommand to the parsers of ``mmuniqrnet``."""
    parser = commands.add_parser(
        'describe',
        help='make expressions from the boxes and categories of detection data',
        description="Make expressions that single out one object each, from a file in COCO's format, with or without "
        'masks, and write JSON Lines for ReferJsonlDataset. An expression is written only if it fits one object '
        'by a margin, and no other annotated object of the image. Places, order, sizes and neighbours need no images; '
        'colours need --images.',
    )
    add_arguments(parser)
    parser.set_defaults(run=describe)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments; the tool in ``tools/dataset_tools`` has the same."""
    parser.add_argument('annotations', metavar='COCO.json', help="annotations in COCO's format")
    parser.add_argument('out', metavar='OUT.jsonl', help='the JSON Lines file to write')
    parser.add_argument('--images', metavar='DIR', help='folder of the images; without it, expressions have no colours')
    parser.add_argument(
        '--per-object',
        type=int,
        default=PER_OBJECT,
        metavar='N',
        help='most expressions of an object (default: %(default)s)',
    )
    parser.add_argument(
        '--kinds',
        nargs='+',
        metavar='KIND',
        help='which expressions: name, place, order, size, color, relation, combined (default: all of these), plural '
        '("people": all objects of a name together)',
    )
    parser.add_argument(
        '--no-target',
        type=float,
        default=0.0,
        metavar='SHARE',
        help='share of expressions that fit nothing in their image, such as 0.1 (default: none)',
    )
    parser.add_argument(
        '--annotated',
        nargs='+',
        default=[],
        metavar='CATEGORY',
        help='the only categories of which all objects are annotated, if not all are; an image can say so itself, by '
        '"persons_only": true or "annotated_categories": [names]',
    )
    parser.add_argument(
        '--language', default=LANGUAGE, metavar='NAME', help='a language, or a .json file (default: %(default)s)'
    )
    parser.add_argument(
        '--fill-boxes', action='store_true', help='for plural: use the boxes of objects that have no mask as masks'
    )
    parser.add_argument(
        '--several',
        action='store_true',
        help='describe only objects that share their image with another one of their category',
    )
    parser.add_argument(
        '--phrases',
        metavar='FILE',
        help='JSON file of phrases to write instead, {"cup": ["the cup", "a mug"], ...}, for each object that is the '
        'only one of its category in its image',
    )
    parser.add_argument('--ambiguous', action='store_true', help='with --phrases: also for other objects')
    parser.add_argument(
        '--seed', type=int, default=0, metavar='N', help='another seed draws other expressions (default: 0)'
    )
    parser.add_argument('--split', metavar='NAME', help='write this split into every line')
    parser.add_argument('--overwrite', action='store_true', help='replace an existing file')


def describe(args: argparse.Namespace) -> int:
    """Write the file, and print how many objects could be described, and why not the others."""
    from mmuniqrnet.analysis.describe.language import load_language
    from mmuniqrnet.analysis.describe.meanings import KINDS
    from mmuniqrnet.analysis.describe.records import PLURAL, write_jsonl
    from mmuniqrnet.analysis.describe.records import describe as describe_all
    from mmuniqrnet.datasets.annotation_files import load_json, require_file
    from mmuniqrnet.datasets.objects import Repairs
    from mmuniqrnet.utils.errors import UserError
    from mmuniqrnet.utils.io import refuse_overwriting

    if args.ambiguous and args.phrases is None:
        raise UserError('--ambiguous has an effect with --phrases only.')
    if args.phrases is not None:
        return _write_given_phrases(args)
    kinds = args.kinds or KINDS
    if args.fill_boxes and PLURAL not in kinds:
        raise UserError('--fill-boxes has an effect with --kinds plural only.')
    if set(kinds) == {PLURAL}:
        for option, value in (('--several', args.several), ('--no-target', args.no_target)):
            if value:
                raise UserError(f'{option} has no effect on plural expressions: name other kinds as well (--kinds).')
    require_file(args.annotations, 'the annotations', "images, annotations and categories in COCO's format")
    refuse_overwriting(args.out, args.overwrite, reads=[args.annotations])
    repairs = Repairs()
    records, counts = describe_all(
        load_json(args.annotations),
        load_language(args.language),
        args.images,
        kinds=kinds,
        per_object=args.per_object,
        no_target=args.no_target,
        seed=args.seed,
        annotated=args.annotated,
        fill_boxes=args.fill_boxes,
        several=args.several,
        split=args.split,
        where=args.annotations,
        repairs=repairs,
    )
    print(counts.tables())
    for sentence in repairs.sentences():
        print(f'{args.annotations}: {sentence}')
    if not records:
        raise UserError(f'{args.annotations}: no expression could be made; nothing is written.')
    write_jsonl(args.out, records, args.overwrite)
    print(f'{args.out}: {len(records):,} lines, {counts.expressions.total():,} expressions')
    return 0


def _write_given_phrases(args: argparse.Namespace) -> int:
    from mmuniqrnet.analysis.describe.given_phrases import coco_to_records, phrases_by_category
    from mmuniqrnet.analysis.describe.records import write_jsonl
    from mmuniqrnet.datasets.annotation_files import load_json, require_file
    from mmuniqrnet.datasets.objects import Repairs
    from mmuniqrnet.utils.errors import UserError
    from mmuniqrnet.utils.io import refuse_overwriting

    unused = {
        '--images': args.images,
        '--kinds': args.kinds,
        '--no-target': args.no_target,
        '--annotated': args.annotated,
        '--fill-boxes': args.fill_boxes,
        '--several': args.several,
        '--per-object': args.per_object != PER_OBJECT,
        '--language': args.language != LANGUAGE,
        '--seed': args.seed != 0,
    }
    for option, value in unused.items():
        if value:
            raise UserError(f'{option} has no effect with --phrases.')
    require_file(args.annotations, 'the annotations', "images, annotations and categories in COCO's format")
    refuse_overwriting(args.out, args.overwrite, reads=[args.annotations, args.phrases])
    repairs = Repairs()
    phrases = phrases_by_category(args.phrases)
    records = coco_to_records(load_json(args.annotations), phrases, not args.ambiguous, args.split, repairs)
    write_jsonl(args.out, records, args.overwrite)
    for sentence in repairs.sentences():
        print(f'{args.annotations}: {sentence}')
    expressions = sum(len(record['expressions']) for record in records)
    print(f'{args.out}: {len(records):,} lines, {expressions:,} expressions')
    return 0

"""``mmuniqrnet get``: annotations from the Hugging Face hub, of RefCOCO/+/g and of sets with corrected labels."""

import argparse
from pathlib import Path
from typing import Any

NAMES = ('refcoco', 'refcoco+', 'refcocog', 'refcoco-m', 'ref-l4')
CORRECTED = ('refcoco-m', 'ref-l4')
NOTES = {
    'refcocog': 'the hub has the umd split of RefCOCOg only; the google split is in the archives of the REFER toolkit',
}


def add_parsers(commands: Any) -> None:
    """Add the subcommand to the parsers of ``mmuniqrnet``."""
    parser = commands.add_parser(
        'get',
        help='download the annotations of RefCOCO, RefCOCO+, RefCOCOg, RefCOCO-M or Ref-L4',
        description='Download annotations from the Hugging Face hub and write them where the configs read them: '
        'RefCOCO, RefCOCO+ and RefCOCOg in the layout of the REFER toolkit, RefCOCO-M and Ref-L4 as they are. The '
        'counts are compared with the published ones.',
    )
    parser.add_argument('name', choices=NAMES, help='data set')
    parser.add_argument('--out', default='data', metavar='FOLDER', help='data root to write to (default: data)')
    parser.add_argument('--revision', help='branch, tag or commit of the repository (default: the newest)')
    parser.add_argument(
        '--from', dest='source', metavar='PATH', help='use files that you already have: a parquet file or a folder'
    )
    parser.add_argument(
        '--images',
        action='store_true',
        help='also write the images of refcoco-m or ref-l4 (3.5 GB) into FOLDER/NAME/images; those of the others are '
        "COCO's",
    )
    parser.add_argument('--overwrite', action='store_true', help='replace annotation files that exist')
    parser.set_defaults(run=get)


def get(args: argparse.Namespace) -> int:
    """Write the files, and say what they hold and which images are missing; the status is 1 if counts differ."""
    from mmuniqrnet.utils.errors import UserError

    if args.source is not None and args.revision is not None:
        raise UserError('--revision is of the hub: leave it out with --from.')
    if args.source == '':
        raise UserError('--from is empty: name a parquet file or a folder.')
    if args.name in CORRECTED:
        return _get_corrected(args)
    if args.images:
        raise UserError(f"--images is for {' and '.join(CORRECTED)}: the images of {args.name} are COCO's train2014.")
    from mmuniqrnet.analysis.hub_annotations import HUB_SETS, convert, fetch_parquet
    from mmuniqrnet.analysis.known_sets import OFFICIAL_COUNTS
    from mmuniqrnet.analysis.prepare import check_files
    from mmuniqrnet.analysis.verify import verify_set
    from mmuniqrnet.datasets.parquet_files import list_parquet
    from mmuniqrnet.utils.tables import text_table

    hub_set = HUB_SETS[args.name]
    if args.source is not None:
        files, origin = list_parquet(args.source), {'path': args.source}
    else:
        files, commit = fetch_parquet(args.name, args.revision)
        origin = {'repository': f'https://huggingface.co/datasets/{hub_set.repo}', 'revision': commit}
    if args.name in NOTES:
        print(f'note: {NOTES[args.name]}.')
    notes = convert(args.name, files, args.out, origin, args.overwrite)
    found = verify_set(hub_set.known, args.out, check_images=False)
    rows = [
        {
            'split': split,
            **{what: f'{found.counts.get(split, {}).get(what, "-")} / {count}' for what, count in official.items()},
        }
        for split, official in OFFICIAL_COUNTS[hub_set.known.name].items()
    ]
    print(f'{args.out}/{hub_set.known.dataset_name}: found / published:')
    print(text_table(rows))
    for line in (*notes, *found.notes, *found.differences, *found.problems[:10]):
        print(f'  {line}')
    for state in check_files(args.out, [hub_set.known]):
        if not state.present:
            print(f'missing: {args.out}/{state.path}: {state.note}')
    return int(not found.good)


def _get_corrected(args: argparse.Namespace) -> int:
    from mmuniqrnet.analysis.hub_evaluation import EVALUATION_SETS, counts, fetch, place, write_images
    from mmuniqrnet.utils.errors import MissingFileError
    from mmuniqrnet.utils.tables import text_table

    if args.source is not None:
        folder, origin = Path(args.source).expanduser(), {'path': args.source}
        if not folder.is_dir():
            raise MissingFileError(f'--from {args.source}: there is no such folder; {args.name} has several files.')
    else:
        folder, commit = fetch(args.name, args.revision, args.images)
        address = f'https://huggingface.co/datasets/{EVALUATION_SETS[args.name].repo}'
        origin = {'repository': address, 'revision': commit}
    out = Path(args.out).expanduser() / args.name
    place(args.name, folder, out, origin, args.overwrite)
    rows = counts(args.name, out)
    print(f'{out}:')
    print(text_table(rows))
    if args.images:
        written, there = write_images(args.name, folder, out)
        print(f'{out / "images"}: {written:,} images written, {there:,} were there.')
    elif args.name == 'refcoco-m':
        print("images: COCO's train2014, or those of the parquet files: --images writes them.")
    elif not (out / 'images').is_dir():
        print(f'missing: {out / "images"}: unpack images.tar.gz of the repository there, or give --images.')
    return int(any(row['found'] != row['published'] for row in rows))

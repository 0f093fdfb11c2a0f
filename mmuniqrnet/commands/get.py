"""``mmuniqrnet get``: the annotations of RefCOCO, RefCOCO+ and RefCOCOg from the Hugging Face hub."""

import argparse
from typing import Any

NAMES = ('refcoco', 'refcoco+', 'refcocog')
NOTES = {
    'refcocog': 'the hub has the umd split of RefCOCOg only; the google split is in the archives of the REFER toolkit',
}


def add_parsers(commands: Any) -> None:
    """Add the subcommand to the parsers of ``mmuniqrnet``."""
    parser = commands.add_parser(
        'get',
        help='download the annotations of RefCOCO, RefCOCO+ or RefCOCOg',
        description='Download annotations from the Hugging Face hub and write them in the layout of the REFER toolkit, '
        'which the configs read. The counts are compared with the published ones. Images are not downloaded.',
    )
    parser.add_argument('name', choices=NAMES, help='data set')
    parser.add_argument('--out', default='data', metavar='FOLDER', help='data root to write to (default: data)')
    parser.add_argument('--revision', help='branch, tag or commit of the repository (default: the newest)')
    parser.add_argument(
        '--from', dest='source', metavar='PATH', help='use parquet files that you already have: a file or a folder'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace annotation files that exist')
    parser.set_defaults(run=get)


def get(args: argparse.Namespace) -> int:
    """Write the files, and say what they hold and which images are missing; the status is 1 if counts differ."""
    from mmuniqrnet.analysis.hub_annotations import HUB_SETS, convert, fetch_parquet, list_parquet
    from mmuniqrnet.analysis.known_sets import OFFICIAL_COUNTS
    from mmuniqrnet.analysis.prepare import check_files
    from mmuniqrnet.analysis.verify import verify_set
    from mmuniqrnet.utils.errors import UserError
    from mmuniqrnet.utils.tables import text_table

    hub_set = HUB_SETS[args.name]
    if args.source is not None:
        if args.revision is not None:
            raise UserError('--revision is of the hub: leave it out with --from.')
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

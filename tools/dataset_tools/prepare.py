"""List which files of RefCOCO, RefCOCO+, RefCOCOg and ReferItGame are present, which are missing and where they belong.

    python tools/dataset_tools/prepare.py data [--sets refcoco refcocog(umd)]

The exit status is 1 if anything is missing.
"""

import argparse
import os
from collections.abc import Sequence

from mmuniqrnet.analysis import KNOWN_SETS, check_files, choose_sets
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='List which data is present, what is missing and where it belongs.')
    parser.add_argument('data_root', nargs='?', default='data', help='folder of the data sets (default: data)')
    parser.add_argument('--sets', nargs='+', metavar='SET', help=f'of {", ".join(KNOWN_SETS)} (default: all)')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    sets = choose_sets(args.sets)
    states = check_files(args.data_root, sets)
    print(
        text_table(
            [
                dict(state='present' if state.present else 'MISSING', path=state.path, note=state.note)
                for state in states
            ]
        )
    )
    for known in sets:
        missing = [state.path for state in states if known.name in state.needed_by and not state.present]
        print(f'{known.name}: ' + (f'lacks {", ".join(missing)}' if missing else 'complete'))
    if not os.path.isdir(args.data_root):
        print(f'there is no folder {args.data_root} yet: create it and put these files into it')
    if not all(state.present for state in states):
        raise SystemExit(1)


if __name__ == '__main__':
    run_tool(main)

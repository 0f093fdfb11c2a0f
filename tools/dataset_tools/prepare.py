"""Say what of RefCOCO, RefCOCO+, RefCOCOg and ReferItGame is where, what is missing and where it belongs.

    python tools/dataset_tools/prepare.py data [--sets refcoco refcocog(umd)]

Exit status 1 if anything is missing.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.analysis import KNOWN_SETS, check_files, choose_sets
from mmuniqrnet.utils.errors import run_tool


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description='Say what data is where, what is missing and where it belongs.')
    parser.add_argument('data_root', nargs='?', default='data', help='default: data')
    parser.add_argument('--sets', nargs='+', metavar='SET', help=f'of {", ".join(KNOWN_SETS)} (default: all)')
    args = parser.parse_args(argv)
    sets = choose_sets(args.sets)
    states = check_files(args.data_root, sets)
    width = max(len(state.path) for state in states)
    for state in states:
        print(f'{"there  " if state.there else "MISSING"}  {state.path:{width}}  {state.note}')
    for known in sets:
        missing = [state.path for state in states if known.name in state.needed_by and not state.there]
        print(f'{known.name}: ' + (f'lacks {", ".join(missing)}' if missing else 'complete'))
    if not all(state.there for state in states):
        raise SystemExit(1)


if __name__ == '__main__':
    run_tool(main)

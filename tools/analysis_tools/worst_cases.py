"""Draw the expressions with the lowest IoU of an evaluation.

    python tools/analysis_tools/worst_cases.py work_dirs/run/results_refcoco_val.jsonl --out worst --top 20

The results file is what ReferringMetric writes if ``outfile_prefix`` is set.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.analysis.worst_cases import write_worst_cases
from mmuniqrnet.config import positive_int
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw the expressions with the lowest IoU of an evaluation.')
    parser.add_argument('results', help='the .jsonl file that ReferringMetric wrote')
    parser.add_argument('--out', required=True, metavar='FOLDER', help='a new or empty folder for the pictures')
    parser.add_argument('--top', type=positive_int, default=20, metavar='N', help='number of pictures (default: 20)')
    parser.add_argument(
        '--by', choices=['mask_iou', 'box_iou'], help='what to rank by (default: mask_iou if there are masks)'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    paths = write_worst_cases(args.results, args.out, top=args.top, by=args.by)
    print(f'{len(paths)} pictures and their index are in {args.out}')


if __name__ == '__main__':
    run_tool(main)

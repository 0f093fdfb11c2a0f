"""Draw the worst cases of an evaluation.

    python tools/analysis_tools/worst_cases.py work_dirs/run/results_refcoco_val.jsonl --out worst --top 20

The results file is what ReferringMetric writes where ``outfile_prefix`` is set.
"""

import argparse
import sys

from mmuniqrnet.analysis.worst_cases import write_worst_cases


def main() -> int:
    parser = argparse.ArgumentParser(description='Draw the worst cases of an evaluation.')
    parser.add_argument('results', help='the .jsonl file that ReferringMetric wrote')
    parser.add_argument('--out', required=True, help='a new or empty folder for the pictures')
    parser.add_argument('--top', type=int, default=20, help='how many (default: 20)')
    parser.add_argument('--by', choices=['mask_iou', 'box_iou'], help='default: mask_iou where there are masks')
    args = parser.parse_args()
    try:
        paths = write_worst_cases(args.results, args.out, top=args.top, by=args.by)
    except (OSError, ValueError) as error:
        print(f'worst_cases: {error}', file=sys.stderr)
        return 2
    print(f'{len(paths)} pictures and their index are in {args.out}')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

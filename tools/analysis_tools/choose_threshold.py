"""Choose the score below which an answer is refused, from the results of an evaluation set such as val.

    python tools/analysis_tools/choose_threshold.py work_dirs/run/results_refshapes_val.jsonl

The results file is what ReferringMetric writes if ``outfile_prefix`` is set, whatever its ``refuse_below`` was. The set
must have expressions that fit nothing. Use the threshold on the test sets, not on the set that it was chosen on:
``ReferringMetric(refuse_below=...)``.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.evaluation import Threshold, at_threshold, best_threshold, metrics_from_file, read_results
from mmuniqrnet.utils.errors import UserError, run_tool
from mmuniqrnet.utils.tables import text_table

GRID = [step / 20 for step in range(21)]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Choose the score below which an answer is refused.')
    parser.add_argument('results', help='the .jsonl file that ReferringMetric wrote')
    return parser.parse_args(argv)


def read_scored(path: str) -> list[dict]:
    """The records of a results file that a threshold can be chosen from.

    Raises:
        UserError: The records lack scores, or have no expressions that fit nothing or no others.
    """
    records = read_results(path)
    if any('empty' not in record for record in records):
        raise UserError(f'{path} was written by an earlier version of ReferringMetric: evaluate again.')
    absent = sum(not record['targets'] for record in records)
    if absent in (0, len(records)):
        raise UserError(
            f'{path} has {absent} expressions that fit nothing among {len(records)}: a threshold needs '
            'both kinds, as in RefShapes made with no_target=0.2, or in gRefCOCO.'
        )
    if any(record['score'] is None for record in records):
        raise UserError(f'{path}: the model gave no scores, so a threshold can not be applied to them.')
    return records


def main(argv: Sequence[str] | None = None) -> Threshold:
    args = parse_args(argv)
    records = read_scored(args.results)
    best = best_threshold(records)
    thresholds = sorted({best, *(at_threshold(records, value) for value in GRID)})
    rows = [
        {
            'refuse_below': f'{one.refuse_below:.6g}',
            'N-acc': one.n_acc,
            'T-acc': one.t_acc,
            'balanced': one.balanced,
            '': 'best' if one == best else '',
        }
        for one in thresholds
    ]
    print(text_table(rows, right=['refuse_below']))
    metrics = metrics_from_file(args.results)
    of_scores = ', '.join(f'{name} {metrics[name]:.2f}' for name in ('AUROC', 'ECE') if name in metrics)
    absent = sum(not record['targets'] for record in records)
    print(f'{len(records)} expressions, {absent} of which fit nothing; {of_scores or "all scores are equal"}')
    print(f"dict(type='ReferringMetric', refuse_below={best.refuse_below!r})")
    return best


if __name__ == '__main__':
    run_tool(main)

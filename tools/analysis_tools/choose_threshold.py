"""Choose below which score an answer is to be refused, from the results of an evaluation set such as val.

    python tools/analysis_tools/choose_threshold.py work_dirs/run/results_refshapes_val.jsonl

The results file is what ReferringMetric writes where ``outfile_prefix`` is set, whatever its ``refuse_below`` was. The
set needs expressions that fit nothing. Put the threshold into the evaluator of the test sets, not of the set that it
was chosen on: ``ReferringMetric(refuse_below=...)``.
"""

import argparse

from mmuniqrnet.evaluation import Threshold, at_threshold, best_threshold, figures_from_file, read_results
from mmuniqrnet.utils.errors import UserError, run_tool

GRID = [step / 20 for step in range(21)]


def read_scored(path: str) -> list[dict]:
    """The records of a results file; refuses one that has no threshold."""
    records = read_results(path)
    if any('empty' not in record for record in records):
        raise UserError(f'{path} was written by an earlier version of ReferringMetric: evaluate once more.')
    absent = sum(not record['targets'] for record in records)
    if absent in (0, len(records)):
        raise UserError(
            f'{path} has {absent} expressions that fit nothing among {len(records)}: a threshold needs '
            'both kinds, as RefShapes made with no_target=0.2 has them, or gRefCOCO.'
        )
    if any(record['score'] is None for record in records):
        raise UserError(f'{path}: the model gave no scores, so there is nothing to refuse by.')
    return records


def row(found: Threshold, name: str = '') -> str:
    numbers = f'{found.refuse_below:>12.6g} {found.n_acc:>8.2f} {found.t_acc:>8.2f} {found.balanced:>9.2f}'
    return f'{numbers}  {name}'.rstrip()


def main(argv: list[str] | None = None) -> Threshold:
    parser = argparse.ArgumentParser(description='Choose below which score an answer is to be refused.')
    parser.add_argument('results', help='the .jsonl file that ReferringMetric wrote')
    args = parser.parse_args(argv)
    records = read_scored(args.results)
    best = best_threshold(records)
    curve = [(found, '') for found in (at_threshold(records, value) for value in GRID) if found != best]
    print('refuse_below    N-acc    T-acc  balanced')
    for found, name in sorted([*curve, (best, '<- best')]):
        print(row(found, name))
    said = figures_from_file(args.results)
    told = ', '.join(f'{name} {said[name]:.2f}' for name in ('AUROC', 'ECE') if name in said)
    absent = sum(not record['targets'] for record in records)
    print(f'{len(records)} expressions, {absent} of which fit nothing; {told or "all scores are the same"}')
    print(f"dict(type='ReferringMetric', refuse_below={best.refuse_below!r})")
    return best


if __name__ == '__main__':
    run_tool(main)

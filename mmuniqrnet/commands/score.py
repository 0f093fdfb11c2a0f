"""``mmuniqrnet score`` and ``mmuniqrnet compare``: evaluating any system, and two systems side by side."""

import argparse
from pathlib import Path
from typing import Any

from mmuniqrnet.utils.formats import LAYOUTS, UNITS

SHOWN = 10
# Options that say how predictions are read and scored.
OF_PREDICTIONS = ('layout', 'units', 'protocol', 'refuse_below', 'out')


def add_parsers(commands: Any) -> None:
    """Add both subcommands to the parsers of ``mmuniqrnet``."""
    score_parser = commands.add_parser(
        'score',
        help='evaluate the predictions of any system, from a file',
        description='Evaluate the boxes and masks of any system on the expressions of a config, each once; expressions '
        'without a line in the file count as wrong. --questions writes the expressions for the system to answer.',
    )
    score_parser.add_argument(
        'predictions', metavar='PREDICTIONS.jsonl', nargs='?', help='JSON Lines, a line for each expression'
    )
    score_parser.add_argument('--data', required=True, metavar='CONFIG', help='config of the data set')
    score_parser.add_argument(
        '--part', choices=('test', 'val', 'train'), default='test', help='data of the config (default: test)'
    )
    score_parser.add_argument('--layout', choices=LAYOUTS, help='order of the numbers of a box (default: xyxy)')
    score_parser.add_argument(
        '--units',
        choices=UNITS,
        help='unit of boxes and polygons: pixels, or parts of width and height, from 0 to 1 (fraction) or from 0 to '
        '1000 (thousandths) (default: pixels)',
    )
    score_parser.add_argument('--protocol', help='evaluation protocol (default: original)')
    score_parser.add_argument('--refuse-below', type=float, metavar='SCORE', help='a lower score counts as a refusal')
    score_parser.add_argument(
        '--out', metavar='PREFIX', help='write PREFIX_DATASET_SPLIT.jsonl, which "mmuniqrnet compare" reads'
    )
    score_parser.add_argument('--questions', metavar='OUT.jsonl', help='write the expressions to this file, and exit')
    score_parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='change values of the config')
    score_parser.set_defaults(run=score)

    compare_parser = commands.add_parser(
        'compare',
        help='compare two results files of the same expressions',
        description='Compare two results files (of "mmuniqrnet score --out" or of ReferringMetric): the differences of '
        'the metrics, with intervals of a paired bootstrap over images, and the expressions for which only one of the '
        'two is correct.',
    )
    compare_parser.add_argument('first', metavar='FIRST.jsonl', help='results file')
    compare_parser.add_argument('second', metavar='SECOND.jsonl', help='results file of the same expressions')
    compare_parser.add_argument(
        '--resamples', type=int, default=2000, metavar='N', help='bootstrap samples (default: 2000)'
    )
    compare_parser.add_argument('--seed', type=int, default=0, help='seed of the bootstrap (default: 0)')
    compare_parser.add_argument(
        '--cases', type=int, default=SHOWN, metavar='N', help=f'number of such expressions to list (default: {SHOWN})'
    )
    compare_parser.set_defaults(run=compare)


def score(args: argparse.Namespace) -> int:
    """Print the table, and which expressions had no line."""
    from mmuniqrnet.analysis.score_predictions import build_evaluation_data, score_predictions, write_questions
    from mmuniqrnet.config import load_config
    from mmuniqrnet.datasets import text_blind_by_set
    from mmuniqrnet.evaluation import ReferringMetric, table_from_metrics, to_text
    from mmuniqrnet.evaluation.predictions_file import Predictions
    from mmuniqrnet.structures.answers import check_refuse_below
    from mmuniqrnet.utils.errors import UserError
    from mmuniqrnet.utils.io import refuse_overwriting

    if (args.predictions is None) == (args.questions is None):
        raise UserError('give either PREDICTIONS.jsonl to score, or --questions OUT.jsonl to write what to ask.')
    if args.questions is not None:
        given = [name for name in OF_PREDICTIONS if getattr(args, name) is not None]
        if given:
            raise UserError(f'--{given[0].replace("_", "-")} has no effect with --questions: leave it out.')
        path = refuse_overwriting(args.questions, option=None)
        dataset = build_evaluation_data(load_config(args.data, _options(args.cfg_options)), args.part)
        print(f'{path}: {write_questions(dataset, path)} expressions, a JSON line each.')
        return 0
    check_refuse_below(args.refuse_below, '--refuse-below', any_scale=True)
    predictions = Predictions(args.predictions, args.layout or 'xyxy', args.units or 'pixels')
    protocol = 'original' if args.protocol is None else args.protocol
    metric = ReferringMetric(protocol, args.refuse_below, outfile_prefix=args.out)
    dataset = build_evaluation_data(load_config(args.data, _options(args.cfg_options)), args.part)
    metrics, missing = score_predictions(dataset, predictions, metric)
    blind = text_blind_by_set(dataset)
    rows = table_from_metrics(metrics)
    for row in rows:
        if row['set'] in blind:
            row['text-blind'] = blind[row['set']]
    print(to_text(rows))
    for doubt in predictions.doubts():
        print(f'note: {doubt}')
    if missing:
        print(f'{len(missing)} expressions have no line in {args.predictions} and count as wrong:')
        for item in missing[:SHOWN]:
            print(f'  {item["dataset"]}/{item["split"]}/{item["sent_id"]}: {item["text"]}')
        if len(missing) > SHOWN:
            print(f'  and {len(missing) - SHOWN} more')
    return 0


def compare(args: argparse.Namespace) -> int:
    """Print the differences and the deciding cases."""
    from mmuniqrnet.analysis.compare_results import compare as differences
    from mmuniqrnet.analysis.compare_results import deciding_cases, read_pairs
    from mmuniqrnet.utils.errors import UserError
    from mmuniqrnet.utils.tables import text_table

    for name, least in dict(resamples=100, cases=0, seed=0).items():
        if getattr(args, name) < least:
            raise UserError(f'--{name} {getattr(args, name)}: it must be at least {least}.')
    pairs = read_pairs(args.first, args.second)
    first, second = Path(args.first).stem, Path(args.second).stem
    rows = [
        {
            'metric': found.metric,
            'N': found.expressions,
            'first': found.first,
            'second': found.second,
            'difference': found.second - found.first,
            '95 % from': found.low,
            'to': found.high,
        }
        for found in differences(pairs, args.resamples, seed=args.seed)
    ]
    print(f'first: {first}, second: {second}; {len(pairs)} expressions; per cent; intervals by drawing images')
    print(text_table(rows))
    cases = deciding_cases(pairs)
    gained = sum(case.second > case.first for case in cases)
    print(f'{len(cases)} expressions decide: {gained} only the second has right, {len(cases) - gained} only the first.')
    for case in cases[: args.cases]:
        values = f'{case.by.replace("_iou", " IoU")} {100 * case.first:.1f} -> {100 * case.second:.1f}'
        print(f'  {values}: {case.record["text"]!r} ({case.record["sent_id"]}, {case.record["img_path"]})')
    return 0


def _options(pairs: list[str] | None) -> dict[str, Any] | None:
    if pairs is None:
        return None
    from mmuniqrnet.config import add_cfg_options

    parser = argparse.ArgumentParser(prog='mmuniqrnet score', add_help=False)
    add_cfg_options(parser)
    return parser.parse_args(['--cfg-options', *pairs]).cfg_options

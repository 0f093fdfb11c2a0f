"""What the scores say: AUROC, calibration error and the choice of a threshold, against counting by brute force."""

import importlib.util
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.refer_samples import evaluate, rectangle, square, with_prediction

from mmuniqrnet.evaluation import ReferringMetric, at_threshold, best_threshold, metrics_from_file, read_results
from mmuniqrnet.evaluation.calibration import auroc, expected_calibration_error
from mmuniqrnet.utils.errors import UserError

spec = importlib.util.spec_from_file_location(
    'choose_threshold', ROOT / 'tools' / 'analysis_tools' / 'choose_threshold.py'
)
choose_threshold = importlib.util.module_from_spec(spec)
spec.loader.exec_module(choose_threshold)


@pytest.mark.parametrize('decimals', [1, 6])  # with ties and without
def test_auroc_is_the_share_of_pairs_in_the_right_order(decimals):
    rng = np.random.default_rng(0)
    there, absent = rng.beta(3, 2, 80).round(decimals), rng.beta(2, 3, 50).round(decimals)
    right = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in there for b in absent)
    assert auroc(there, absent) == pytest.approx(right / (80 * 50))
    assert auroc([0.6, 0.9], [0.1, 0.5]) == 1 and auroc([0.1], [0.5, 0.6]) == 0 and auroc([0.5], [0.5]) == 0.5


def test_calibration_error_by_its_definition():
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.random(200), [0.0, 0.1, 0.3, 0.7, 1.0]])  # edges, too
    qualities = np.clip(scores + rng.normal(0, 0.3, len(scores)), 0, 1)
    total = 0.0
    for k in range(10):
        low, high = Fraction(k, 10), Fraction(k + 1, 10)
        # 0.3 and 0.7 as floats: on which side of an edge they are, their decimals say
        chosen = [
            i for i, score in enumerate(scores) if low <= Fraction(repr(float(score))) < high or (k == 9 and score == 1)
        ]
        if chosen:
            total += len(chosen) * abs(np.mean(scores[chosen]) - np.mean(qualities[chosen]))
    assert expected_calibration_error(scores, qualities) == pytest.approx(total / len(scores))


def test_calibration_error_of_what_is_certain():
    assert expected_calibration_error([0.25] * 4, [0, 0, 0, 1]) == 0  # right on average is calibrated
    assert expected_calibration_error([1.0, 1.0], [0.0, 0.0]) == 1
    assert expected_calibration_error([0.2, 0.9], [1.0, 0.1]) == pytest.approx(0.8)  # errors do not cancel across bins


SAMPLES = [
    # score, has a target, predicted box (the truth is (0, 0, 4, 4)), whether the mask is empty
    (0.95, True, (0, 0, 4, 4), False),
    (0.75, True, (0, 0, 4, 2), False),
    (0.35, True, (4, 4, 8, 8), False),
    (0.62, True, (0, 0, 4, 4), True),
    (0.25, False, (0, 0, 4, 4), False),
    (0.45, False, (0, 0, 4, 4), False),
    (0.85, False, (0, 0, 4, 4), True),
]


def samples():
    return [
        with_prediction(
            square(i, truth=(0, 0, 4, 4) if there else None), box, rectangle(None if empty else (0, 0, 4, 4)), score
        )
        for i, (score, there, box, empty) in enumerate(SAMPLES)
    ]


def scored(path, **options):
    return evaluate(ReferringMetric(outfile_prefix=str(path / 'r'), **options), samples(), batch_size=2)


def test_the_metric_gives_them_whatever_is_refused(tmp_path):
    plain, refusing = scored(tmp_path), scored(tmp_path, refuse_below=0.65)
    # 12 pairs: 0.95 > all; 0.75 and 0.62 > 0.25, 0.45; 0.35 > 0.25
    assert plain['toy/val/AUROC'] == refusing['toy/val/AUROC'] == pytest.approx(100 * (3 + 2 + 1 + 2) / 12)
    qualities = [1, 0.5, 0, 1, 0, 0, 0]
    error = np.abs(np.float32([row[0] for row in SAMPLES]) - qualities).mean()  # each is in a bin of its own
    assert plain['toy/val/ECE'] == refusing['toy/val/ECE'] == pytest.approx(100 * error, rel=1e-6)
    assert metrics_from_file(tmp_path / 'r_toy_val.jsonl')['ECE'] == refusing['toy/val/ECE']


def test_a_score_that_is_always_the_same_has_no_metrics():
    found = evaluate(
        ReferringMetric(),
        [dict(sample, pred_instances=dict(sample['pred_instances'], scores=np.ones(1))) for sample in samples()],
    )
    assert 'toy/val/N-acc' in found and not {'toy/val/AUROC', 'toy/val/ECE'} & set(found)


def test_the_quality_of_masks_alone():
    answers = [
        with_prediction(square(0), mask=rectangle((0, 0, 4, 3)), score=0.5),
        with_prediction(square(1), mask=rectangle((0, 0, 4, 4)), score=0.25),
    ]
    found = evaluate(ReferringMetric(refuse_below=0.4), answers)
    assert found['toy/val/ECE'] == pytest.approx(100 * (0.25 + 0.75) / 2)
    assert found['toy/val/mIoU'] == pytest.approx(37.5)  # the second is refused


def test_several_targets_have_no_box_to_foretell():
    item = square(0)
    item['instances'] += square(0, truth=(4, 4, 8, 8))['instances']
    found = evaluate(
        ReferringMetric(),
        [with_prediction(item, (0, 0, 4, 4), score=0.2), with_prediction(square(1), (0, 0, 4, 4), score=0.7)],
    )
    assert found['toy/val/ECE'] == pytest.approx(30, abs=1e-4)


@pytest.mark.parametrize('threshold', [0.0, 0.25, 0.5, 0.65, 1.0])
def test_a_threshold_is_judged_as_the_metric_does(tmp_path, threshold):
    scored(tmp_path)
    judged = at_threshold(read_results(tmp_path / 'r_toy_val.jsonl'), threshold)
    found = scored(tmp_path, refuse_below=threshold)
    assert (judged.n_acc, judged.t_acc) == (found['toy/val/N-acc'], found['toy/val/T-acc'])
    # and the file it was computed from may have been written with any threshold
    assert at_threshold(read_results(tmp_path / 'r_toy_val.jsonl'), threshold) == judged


def test_the_best_threshold_is_the_best_of_all():
    rng = np.random.default_rng(3)
    for case in range(20):
        decimals = (2, 5)[case % 2]
        records = [
            dict(
                score=float(rng.beta(3 if there else 2, 2).__round__(decimals)),
                targets=int(there),
                empty=bool(rng.random() < 0.1),
            )
            for there in rng.random(60) < 0.7
        ]
        best = best_threshold(records)
        levels = sorted({record['score'] for record in records})
        everything = [at_threshold(records, level) for level in [0.0, *levels, 2.0]]
        assert best.balanced == pytest.approx(max(found.balanced for found in everything))
        lower = [found for found in everything if found.refuse_below < best.refuse_below]
        same = [found for found in lower if (found.n_acc, found.t_acc) != (best.n_acc, best.t_acc)]
        assert all(found.balanced < best.balanced - 1e-9 for found in same)


def test_a_threshold_is_a_number_that_one_can_write_down():
    def records(low, high):
        return [dict(score=low, targets=0, empty=False), dict(score=high, targets=1, empty=False)]

    assert best_threshold(records(0.13, 0.42)).refuse_below == 0.2
    assert best_threshold(records(0.41, 0.49)).refuse_below == 0.42
    assert best_threshold(records(0.4, 0.5)).refuse_below == 0.5
    low = 0.1234567890123
    assert low < best_threshold(records(low, math.nextafter(low, 1))).refuse_below <= math.nextafter(low, 1)


def test_the_tool_prints_the_best_and_the_curve(tmp_path, capsys):
    scored(tmp_path)
    best = choose_threshold.main([str(tmp_path / 'r_toy_val.jsonl')])
    printed = capsys.readouterr().out
    assert (best.n_acc, best.t_acc) == (100, 50) and best.refuse_below == 0.5  # above 0.45, not above 0.62
    head, *rows = [line.split() for line in printed.splitlines()[:-2]]
    assert head == ['refuse_below', 'N-acc', 'T-acc', 'balanced']
    assert ['0.5', '100.00', '50.00', '75.00', 'best'] in rows and ['0.2', '33.33', '75.00', '54.17'] in rows
    assert [float(row[0]) for row in rows] == sorted(step / 20 for step in range(21))
    assert "dict(type='ReferringMetric', refuse_below=0.5)" in printed
    assert '7 expressions, 3 of which fit nothing; AUROC 66.67, ECE ' in printed
    assert len(printed.splitlines()) == 1 + 21 + 2


def test_the_tool_refuses_what_has_no_threshold(tmp_path):
    path = tmp_path / 'r_toy_val.jsonl'
    evaluate(ReferringMetric(outfile_prefix=str(tmp_path / 'r')), samples()[:4])
    with pytest.raises(UserError, match='0 expressions that fit nothing among 4: a threshold needs both kinds'):
        choose_threshold.main([str(path)])
    scored(tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(''.join(json.dumps({k: v for k, v in line.items() if k != 'empty'}) + '\n' for line in lines))
    with pytest.raises(UserError, match='earlier version of ReferringMetric: evaluate again'):
        choose_threshold.main([str(path)])
    assert metrics_from_file(path)['AUROC'] == pytest.approx(100 * 8 / 12)
    path.write_text(''.join(json.dumps(dict(line, score=None)) + '\n' for line in lines))
    with pytest.raises(UserError, match='gave no scores'):
        choose_threshold.main([str(path)])

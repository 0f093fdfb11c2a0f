import numpy as np
import pytest
from helpers.refer_samples import evaluate, rectangle, square, with_prediction

from mmuniqrnet.analysis.compare_results import compare, deciding_cases, read_pairs
from mmuniqrnet.evaluation import ReferringMetric, compute_set_metrics, read_results

SIDE, TRUTH = 20, (0, 0, 10, 10)


def results(folder, name, widths, images):
    """A results file; answer i is the truth cut to a width, which is its IoU in tenths."""
    samples = [
        with_prediction(
            square(number, SIDE, TRUTH, img_id=image), (0, 0, width, 10), rectangle((0, 0, width, 10), SIDE)
        )
        for number, (width, image) in enumerate(zip(widths, images))
    ]
    evaluate(ReferringMetric(outfile_prefix=str(folder / name)), samples)
    return folder / f'{name}_toy_val.jsonl'


@pytest.fixture
def two(tmp_path):
    draw = np.random.default_rng(0)
    images = np.repeat(np.arange(60), 3).tolist()
    first, second = draw.integers(1, 11, size=(2, 180)).tolist()
    return results(tmp_path, 'a', first, images), results(tmp_path, 'b', second, images)


def test_values_are_the_metrics_of_each_file(two):
    expected = [compute_set_metrics(read_results(path)) for path in two]
    found = compare(read_pairs(*two), resamples=200)
    assert [one.metric for one in found] == ['Acc@0.5', 'box_mIoU', 'oIoU', 'mIoU', 'Pr@0.5']
    for one in found:
        assert (one.first, one.second) == pytest.approx(tuple(metrics[one.metric] for metrics in expected))
        assert one.low < one.second - one.first < one.high


def test_the_interval_is_that_of_independent_images(tmp_path):
    # One expression an image, differences of known variance: the normal approximation holds.
    draw = np.random.default_rng(1)
    first, second = draw.integers(1, 11, size=(2, 400)).tolist()
    pairs = read_pairs(results(tmp_path, 'a', first, range(400)), results(tmp_path, 'b', second, range(400)))
    [found] = [one for one in compare(pairs, resamples=4000) if one.metric == 'mIoU']
    half = 1.96 * np.std(10.0 * (np.array(second) - first)) / 20
    middle = found.second - found.first
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=0.15)


def test_expressions_of_one_image_are_drawn_together(tmp_path):
    # The same ten images, with each answer once or nine times: repetition adds nothing that is known.
    first, second = [10, 2] * 5, [5, 6] * 5
    lengths = []
    for times in (1, 9):
        images = [image for image in range(10) for _ in range(times)]
        a, b = ([width for width in widths for _ in range(times)] for widths in (first, second))
        pairs = read_pairs(results(tmp_path, f'a{times}', a, images), results(tmp_path, f'b{times}', b, images))
        [found] = [one for one in compare(pairs) if one.metric == 'mIoU']
        lengths.append(found.high - found.low)
    assert lengths[0] == pytest.approx(lengths[1])


def test_deciding_cases_are_those_that_only_one_has_right(tmp_path):
    pairs = read_pairs(results(tmp_path, 'a', [10, 6, 4, 4], range(4)), results(tmp_path, 'b', [6, 4, 10, 4], range(4)))
    cases = deciding_cases(pairs)
    assert [(case.record['sent_id'], case.first, case.second) for case in cases] == [(2, 0.4, 1.0), (1, 0.6, 0.4)]


def test_other_expressions_are_refused(two, tmp_path):
    other = results(tmp_path, 'c', [5, 5], range(2))
    with pytest.raises(ValueError, match=r'178 of 180 expressions of .*a_toy_val.jsonl are not in .*c_toy_val.jsonl'):
        read_pairs(two[0], other)

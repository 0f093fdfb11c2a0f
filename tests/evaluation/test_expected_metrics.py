"""What is expected before an evaluation is what the evaluation then has."""

import itertools

import pytest
from helpers.refer_samples import evaluate, rectangle, square, with_prediction

from mmuniqrnet.evaluation import PROTOCOLS, ReferringMetric, get_protocol
from mmuniqrnet.evaluation.expected_metrics import Kind, Predicts, expected_metrics


def without(key):
    """An item whose object has no box, or no mask."""

    def make(sent_id):
        item = square(sent_id)
        return dict(item, instances=[{name: value for name, value in item['instances'][0].items() if name != key}])

    return make


def several(sent_id):
    item = square(sent_id)
    return dict(item, instances=item['instances'] * 2)


def nothing(sent_id):
    return square(sent_id, truth=None)


ITEMS = dict(whole=square, boxes=without('mask'), masks=without('bbox'), several=several, nothing=nothing)
DATA = [names for length in (1, 2, 3) for names in itertools.combinations(ITEMS, length)]


@pytest.mark.parametrize('boxes, masks, scores', [(1, 1, 1), (1, 0, 1), (0, 1, 1), (1, 1, 0), (1, 0, 0), (0, 1, 0)])
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_expected_metrics_are_those_of_the_evaluation(protocol, boxes, masks, scores):
    for names in DATA:
        items = [ITEMS[name](2 * number + copy) for number, name in enumerate(names) for copy in range(2)]
        mask = rectangle((0, 0, 4, 4))
        samples = [
            with_prediction(
                item,
                box=(0, 0, 4, 4) if boxes else None,
                mask=mask if masks else None,
                score=0.3 + number / 20 if scores else 1.0,
                **(dict(mask_probs=mask.astype('float32'), input_masks=mask) if masks else {}),
            )
            for number, item in enumerate(items)
        ]
        found = evaluate(ReferringMetric(protocol=protocol), samples)
        label = '' if protocol == 'original' else f'{protocol}_'
        expected = expected_metrics(
            [Kind.of(item) for item in items], Predicts(bool(boxes), bool(masks), bool(scores)), get_protocol(protocol)
        )
        assert [f'toy/val/{label}{name}' for name in expected] == list(found), names

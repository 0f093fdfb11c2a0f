import json

import pytest
from helpers.refer_samples import evaluate, rectangle, square, with_prediction

from mmuniqrnet.analysis.score_predictions import score_predictions, write_questions
from mmuniqrnet.evaluation import ReferringMetric
from mmuniqrnet.evaluation.predictions_file import Predictions
from mmuniqrnet.structures.masks import encode_mask

SIDE = 20
TRUTHS = {0: (0, 0, 10, 10), 1: (5, 5, 15, 20), 2: (2, 0, 20, 6), 3: None}


class Items(list):
    def get_data_info(self, index):
        return self[index]


@pytest.fixture
def data() -> Items:
    return Items(square(number, SIDE, truth, height=SIDE, width=SIDE) for number, truth in TRUTHS.items())


def write(path, *rows):
    path.write_text('\n'.join(json.dumps(row) for row in rows))
    return path


def rle(box):
    return encode_mask(rectangle(box, SIDE))


def scored(data, path, **options):
    metrics, missing = score_predictions(data, Predictions(path, **options), ReferringMetric())
    return {name.removeprefix('toy/val/'): value for name, value in metrics.items()}, missing


def test_the_metrics_are_those_of_the_same_answers_from_a_model(data, tmp_path):
    answers = {0: ((0, 0, 10, 9), 0.9), 1: ((5, 5, 15, 10), 0.2), 2: ((2, 0, 20, 6), 0.7), 3: ((0, 0, 4, 4), 0.1)}
    path = write(
        tmp_path / 'p.jsonl',
        *[dict(sent_id=key, box=box, mask=rle(box), score=score) for key, (box, score) in answers.items()],
    )
    samples = [
        with_prediction(item, answers[item['sent_id']][0], rectangle(answers[item['sent_id']][0], SIDE), score)
        for item in data
        for score in [answers[item['sent_id']][1]]
    ]
    found, missing = scored(data, path)
    expected = evaluate(ReferringMetric(), samples)
    assert not missing and len(found) > 10
    assert found == pytest.approx({name.removeprefix('toy/val/'): value for name, value in expected.items()})


def test_a_missing_line_counts_as_wrong_also_where_nothing_is_right(data, tmp_path):
    right = [dict(sent_id=key, box=box, mask=box and rle(box)) for key, box in TRUTHS.items()]
    everything, missing = scored(data, write(tmp_path / 'all.jsonl', *right))
    assert not missing and everything['Acc@0.5'] == everything['mIoU'] == everything['N-acc'] == 100
    found, missing = scored(data, write(tmp_path / 'part.jsonl', right[1]))
    assert [item['sent_id'] for item in missing] == [0, 2, 3]
    assert (found['N'], found['Acc@0.5'], found['mIoU'], found['N-acc']) == (4, 25, 25, 0)
    assert found['T-acc'] == pytest.approx(100 / 3)


def test_a_part_that_only_other_lines_have_counts_as_wrong(data, tmp_path):
    rows = [dict(sent_id=0, box=TRUTHS[0]), dict(sent_id=1, mask=rle(TRUTHS[1])), dict(sent_id=3, box=None)]
    found, _ = scored(data, write(tmp_path / 'p.jsonl', *rows))
    assert (found['N_box'], found['Acc@0.5'], found['N_mask'], found['mIoU']) == (4, 50, 4, 50)


def test_of_several_answers_the_surest_counts(data, tmp_path):
    rows = [
        dict(sent_id=0, boxes=[TRUTHS[1], TRUTHS[0]], scores=[0.3, 0.8]),
        dict(sent_id=1, boxes=[TRUTHS[1], TRUTHS[0]], scores=[0.3, 0.8]),
        dict(sent_id=2, boxes=[], scores=[]),
        dict(sent_id=3, boxes=[]),
    ]
    found, _ = scored(data, write(tmp_path / 'p.jsonl', *rows))
    assert found['Acc@0.5'] == 50 and found['N-acc'] == 100


def test_masks_as_files_and_as_polygons_in_other_units(data, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / 'm.png'), 255 * rectangle(TRUTHS[0], SIDE).astype('uint8'))
    x1, y1, x2, y2 = (1000 * value / SIDE for value in TRUTHS[1])
    rows = [dict(sent_id=0, mask='m.png'), dict(sent_id=1, mask=[[x1, y1, x2, y1, x2, y2, x1, y2]])]
    found, _ = scored(data, write(tmp_path / 'p.jsonl', *rows), units='thousandths')
    assert found['mIoU'] == pytest.approx(50, abs=0.01) and 'Acc@0.5' not in found


@pytest.mark.parametrize(
    ('rows', 'says'),
    [
        ([dict(box=[0, 0, 1, 1])], r'p.jsonl, line 1: a line must be a JSON object with "sent_id"'),
        ([dict(sent_id=0)], 'p.jsonl has no box and no mask'),
        ([dict(sent_id=0, box=None)] * 2, 'line 2: expression 0 has an answer already, in .*line 1'),
        ([dict(sent_id=9, box=None)], 'line 1: the data has no expression 9; it has toy/val, such as toy/val/0'),
        ([dict(sent_id=0, box=[0, 0, 1])], 'line 1: a box must be four numbers'),
        ([dict(sent_id=0, box=[0, 0, 1, 1], boxes=[])], '"box" and "boxes" are both there'),
        (
            [dict(sent_id=0, boxes=[[0, 0, 1, 1]] * 2, scores=[1])],
            "of one number, not {'boxes': 2, 'scores': 1}",
        ),
        ([dict(sent_id=0, mask=dict(size=[4, 4], counts=[16]))], r'line 1: an RLE mask has size \[4, 4\]'),
        ([dict(sent_id=0, box=[0, 0, 1, 1], score='high')], "line 1: a score must be a finite number, not 'high'"),
        ([dict(sent_id=0, dataset='other', box=None)], 'the data has no expression other/0'),
    ],
)
def test_bad_lines_are_named(rows, says, data, tmp_path):
    with pytest.raises(ValueError, match=says):
        scored(data, write(tmp_path / 'p.jsonl', *rows))


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / 'p.jsonl').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ValueError, match=r'p.jsonl is not UTF-8 text'):
        Predictions(tmp_path / 'p.jsonl')


def test_ids_that_several_sets_share_need_the_set(tmp_path):
    data = Items(square(0, SIDE, TRUTHS[0], dataset=name, height=SIDE, width=SIDE) for name in ('a', 'b'))
    with pytest.raises(ValueError, match='line 1: several sets have an expression 0: add "dataset" and "split"'):
        scored(data, write(tmp_path / 'p.jsonl', dict(sent_id=0, box=TRUTHS[0])))
    rows = [dict(dataset=name, split='val', sent_id='0', box=TRUTHS[0]) for name in ('a', 'b')]
    found, missing = scored(data, write(tmp_path / 'q.jsonl', *rows))
    assert not missing and found['a/val/Acc@0.5'] == found['b/val/Acc@0.5'] == 100


def test_units_that_look_wrong_are_doubted(data, tmp_path):
    for boxes, doubts in (
        ([[0, 0, 0.5, 0.5]], 'are they fractions of the image'),
        ([[0, 0, 500, 400], [0, 0, 20, 20]], '1 of 2 boxes end outside of their image'),
        ([[0, 0, 20, 20.5]], ''),
    ):
        predictions = Predictions(
            write(tmp_path / 'p.jsonl', *[dict(sent_id=number, box=box) for number, box in enumerate(boxes)])
        )
        score_predictions(data, predictions, ReferringMetric())
        assert doubts in ' '.join(predictions.doubts()) and bool(doubts) == bool(predictions.doubts())


def test_what_to_ask_can_be_answered_line_by_line(data, tmp_path):
    assert write_questions(data, tmp_path / 'q.jsonl') == 4
    asked = [json.loads(line) for line in (tmp_path / 'q.jsonl').read_text().splitlines()]
    assert [(row['text'], row['height'], row['width'], row['img_path']) for row in asked][1] == (
        'square 1',
        20,
        20,
        '1.jpg',
    )
    assert 'instances' not in asked[0]
    found, missing = scored(
        data, write(tmp_path / 'p.jsonl', *[dict(row, box=TRUTHS[row['sent_id']]) for row in asked])
    )
    assert not missing and found['Acc@0.5'] == 100

import logging

import numpy as np
import pytest
import torch
from helpers.paths import needs_mini
from helpers.refer_samples import SPLITS_BY, evaluate, mini_items, rectangle, square, with_prediction
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement, InstanceData
from pycocotools import mask as coco_mask

from mmuniqrnet.evaluation import ReferringMetric
from mmuniqrnet.utils.errors import UserError

EVERY_FIGURE = {
    'N',
    'N_box',
    'N_mask',
    'Acc@0.5',
    'box_mIoU',
    'oIoU',
    'mIoU',
    'Pr@0.5',
    'Pr@0.6',
    'Pr@0.7',
    'Pr@0.8',
    'Pr@0.9',
    'agreement',
    'box_mask_IoU',
}


def of_set(metrics, name='toy/val'):
    return {key.rpartition('/')[2]: value for key, value in metrics.items() if key.rpartition('/')[0] == name}


@needs_mini
@pytest.mark.parametrize('dataset', SPLITS_BY)
def test_oracle_has_100_everywhere(dataset):
    items, coco = mini_items(dataset)
    samples = [
        with_prediction(item, item['instances'][0]['bbox'], coco.annToMask(coco.anns[item['ann_id']])) for item in items
    ]
    metrics = evaluate(ReferringMetric(), samples, batch_size=4)
    splits = {item['split'] for item in items}
    assert {key.rpartition('/')[0] for key in metrics} == {f'{dataset}/{split}' for split in splits}
    for split in splits:
        found = of_set(metrics, f'{dataset}/{split}')
        assert set(found) == EVERY_FIGURE
        count = sum(item['split'] == split for item in items)
        assert found['N'] == found['N_box'] == found['N_mask'] == count
        for name in EVERY_FIGURE - {'N', 'N_box', 'N_mask', 'box_mask_IoU', 'box_mIoU'}:
            assert found[name] == 100, name
        # predictions are float32, the truth is not; polygon outlines do not end on whole pixels
        assert found['box_mIoU'] == pytest.approx(100, abs=1e-4)
        assert 85 < found['box_mask_IoU'] < 100


@needs_mini
@pytest.mark.parametrize('dataset', SPLITS_BY)
def test_box_as_mask_has_the_metrics_of_pycocotools(dataset):
    items, coco = mini_items(dataset)
    samples, expected = [], {}
    for item in items:
        height, width = item['ori_shape']
        box_rle = coco_mask.frPyObjects(np.array([coco.anns[item['ann_id']]['bbox']]), height, width)
        mask = coco_mask.decode(box_rle)[..., 0]
        # a shifted box, so that some are wrong
        shifted = np.add(item['instances'][0]['bbox'], [40, 0, 40, 0])
        samples.append(with_prediction(item, shifted, mask))
        truth = coco.annToRLE(coco.anns[item['ann_id']])
        xywh = [*shifted[:2], *(shifted[2:] - shifted[:2])]
        expected.setdefault(item['split'], []).append(
            (
                coco_mask.iou(box_rle, [truth], [0])[0, 0],
                coco_mask.area(coco_mask.merge([box_rle[0], truth], intersect=True)),
                coco_mask.area(coco_mask.merge([box_rle[0], truth])),
                coco_mask.iou(np.array([xywh]), np.array([coco.anns[item['ann_id']]['bbox']]), [0])[0, 0],
            )
        )
    metrics = evaluate(ReferringMetric(), samples, batch_size=3)
    for split, rows in expected.items():
        iou, intersection, union, box_iou = np.array(rows, dtype=float).T
        found = of_set(metrics, f'{dataset}/{split}')
        assert found['mIoU'] == pytest.approx(100 * iou.mean(), abs=1e-9)
        assert found['oIoU'] == pytest.approx(100 * intersection.sum() / union.sum(), abs=1e-9)
        for threshold in (0.5, 0.6, 0.7, 0.8, 0.9):
            assert found[f'Pr@{threshold}'] == pytest.approx(100 * (iou >= threshold).mean())
        assert found['box_mIoU'] == pytest.approx(100 * box_iou.mean(), abs=1e-4)
        assert found['Acc@0.5'] == pytest.approx(100 * (box_iou >= 0.5).mean())
        assert found['agreement'] == pytest.approx(100 * ((box_iou >= 0.5) == (iou >= 0.5)).mean())


@needs_mini
def test_batch_size_makes_no_difference():
    items, _ = mini_items('refcoco')
    rng = np.random.default_rng(0)
    samples = [with_prediction(item, rng.uniform(0, 400, 4), rng.random(item['ori_shape']) > 0.3) for item in items]
    one = evaluate(ReferringMetric(), samples, batch_size=1)
    assert one == evaluate(ReferringMetric(), samples, batch_size=8)  # 35 samples: the last batch has 3
    assert one == pytest.approx(evaluate(ReferringMetric(), samples[::-1], batch_size=35))


def test_by_hand():
    samples = [
        # IoU of box 1, of mask 8 / 16, which is >= 0.5
        with_prediction(square(0), (0, 0, 4, 4), rectangle((0, 0, 4, 2))),
        # IoU of box 0, of mask 16 / 64
        with_prediction(square(1), (4, 4, 8, 8), rectangle((0, 0, 8, 8))),
    ]
    found = of_set(evaluate(ReferringMetric(), samples, batch_size=2))
    assert found == {
        'N': 2,
        'N_box': 2,
        'N_mask': 2,
        'Acc@0.5': 50,
        'box_mIoU': 50,
        'oIoU': pytest.approx(100 * 24 / 80),
        'mIoU': 37.5,
        'Pr@0.5': 50,
        'Pr@0.6': 0,
        'Pr@0.7': 0,
        'Pr@0.8': 0,
        'Pr@0.9': 0,
        'agreement': 100,
        # 8 / 16 and 16 / 64
        'box_mask_IoU': 37.5,
    }


def test_oiou_is_not_a_mean_of_batches():
    samples = [
        with_prediction(square(0, truth=(0, 0, 8, 8)), mask=rectangle((0, 0, 8, 8))),
        with_prediction(square(1, truth=(0, 0, 1, 1)), mask=rectangle((7, 7, 8, 8))),
        with_prediction(square(2, truth=(0, 0, 1, 1)), mask=rectangle((7, 7, 8, 8))),
    ]
    found = of_set(evaluate(ReferringMetric(), samples, batch_size=2))
    assert found['oIoU'] == pytest.approx(100 * 64 / (64 + 2 + 2))
    assert found['oIoU'] != pytest.approx(100 * (64 / 66 + 0) / 2)
    assert found['mIoU'] == pytest.approx(100 / 3)


def test_big_sums_do_not_overflow():
    side = 4096
    whole = np.ones((side, side), dtype=bool)
    metric = ReferringMetric()
    metric.process(None, [with_prediction(square(0, side=side, truth=(0, 0, side, side)), mask=whole)])
    # 5e9 pixels > 2 ** 32
    metric.results = [dict(metric.results[0], sent_id=i, img_id=0, text='') for i in range(300)]
    assert of_set(metric.evaluate(300))['oIoU'] == 100


def test_what_the_model_does_not_predict_is_left_out():
    box_only = of_set(evaluate(ReferringMetric(), [with_prediction(square(0), box=(0, 0, 4, 4))]))
    assert set(box_only) == {'N', 'N_box', 'Acc@0.5', 'box_mIoU'}
    mask_only = of_set(evaluate(ReferringMetric(), [with_prediction(square(0), mask=rectangle((0, 0, 4, 4)))]))
    assert set(mask_only) == EVERY_FIGURE - {'N_box', 'Acc@0.5', 'box_mIoU', 'agreement', 'box_mask_IoU'}


def test_what_the_truth_does_not_have_is_left_out():
    box_truth, mask_truth = square(0), square(1)
    del box_truth['instances'][0]['mask'], mask_truth['instances'][0]['bbox']
    answers = dict(box=(0, 0, 4, 4), mask=rectangle((0, 0, 4, 2)))
    samples = [with_prediction(item, **answers) for item in (box_truth, mask_truth, square(2))]
    found = of_set(evaluate(ReferringMetric(), samples))
    assert (found['N'], found['N_box'], found['N_mask']) == (3, 2, 2)
    assert (found['Acc@0.5'], found['mIoU'], found['oIoU']) == (100, 50, 50)
    assert found['agreement'] == 100  # of the one that has both
    assert found['box_mask_IoU'] == 50  # of all three: it needs no truth

    no_masks = of_set(evaluate(ReferringMetric(), samples[:1]))
    assert not {'oIoU', 'mIoU', 'Pr@0.5', 'agreement', 'N_mask'} & set(no_masks)


@pytest.mark.parametrize('threshold', [float('nan'), float('inf'), '0.5', True])
def test_a_threshold_that_no_score_can_have_is_refused(threshold):
    with pytest.raises(UserError, match='refuse_below .*: a threshold of scores is a finite number'):
        ReferringMetric(refuse_below=threshold)
    for possible in (0, np.float32(0.5), 1.0, -3.5):  # the scores of other systems may be logits
        assert ReferringMetric(refuse_below=possible).refuse_below == possible


def test_no_target():
    empty = rectangle(None)
    samples = [
        with_prediction(square(0, truth=None), (0, 0, 4, 4), empty, score=0.1),  # refused: right
        with_prediction(square(1, truth=None), (0, 0, 4, 4), rectangle((0, 0, 2, 2)), score=0.9),  # not refused
        with_prediction(square(2), (0, 0, 4, 4), rectangle((0, 0, 4, 4)), score=0.9),  # right
        with_prediction(square(3), (0, 0, 4, 4), rectangle((0, 0, 4, 4)), score=0.1),  # refused: wrong
    ]
    found = of_set(evaluate(ReferringMetric(refuse_below=0.5), samples, batch_size=3))
    assert found['Acc@0.5'] == 50
    assert found['mIoU'] == found['gIoU'] == 50
    # 0 / 0, 0 / 4, 16 / 16 and, being refused, 0 / 16
    assert found['oIoU'] == found['cIoU'] == pytest.approx(100 * 16 / 36)
    assert (found['N-acc'], found['T-acc']) == (50, 50)
    assert found['Pr@0.5'] == 50  # of the two that have a target
    assert found['agreement'] == 100

    # without refuse_below nothing is refused but by an empty mask
    found = of_set(evaluate(ReferringMetric(), samples, batch_size=3))
    assert found['Acc@0.5'] == 50 and found['Pr@0.5'] == 100
    assert (found['N-acc'], found['T-acc']) == (50, 100)


def test_a_set_of_refusals_has_no_precision_and_full_oiou():
    samples = [with_prediction(square(i, truth=None), mask=rectangle(None)) for i in range(2)]
    found = of_set(evaluate(ReferringMetric(), samples))
    assert found['oIoU'] == found['mIoU'] == found['N-acc'] == 100
    assert not {'Pr@0.5', 'T-acc', 'Acc@0.5'} & set(found)


def test_empty_prediction_of_something_is_zero():
    found = of_set(evaluate(ReferringMetric(), [with_prediction(square(0), (1, 1, 1, 1), rectangle(None))]))
    assert found['oIoU'] == found['mIoU'] == found['Acc@0.5'] == found['box_mask_IoU'] == 0
    assert 'N-acc' not in found


def test_nothing_predicted_at_all():
    sample = with_prediction(square(0))
    sample['pred_instances'] = dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), masks=torch.zeros(0, 8, 8).bool())
    found = of_set(evaluate(ReferringMetric(), [sample, dict(sample, sent_id=1, instances=[])]))
    assert (found['Acc@0.5'], found['mIoU'], found['N-acc'], found['T-acc']) == (50, 50, 100, 0)
    assert found['box_mask_IoU'] == 100


def test_several_targets_have_a_mask_but_no_box():
    item = square(0, truth=(0, 0, 4, 4))
    item['instances'] += square(0, truth=(4, 4, 8, 8))['instances']
    found = of_set(evaluate(ReferringMetric(), [with_prediction(item, (0, 0, 4, 4), rectangle((0, 0, 4, 4)))]))
    assert found['mIoU'] == 50 and 'Acc@0.5' not in found


def test_of_several_predictions_the_best_counts():
    sample = with_prediction(square(0))
    sample['pred_instances'] = dict(
        bboxes=torch.tensor([[4.0, 4, 8, 8], [0, 0, 4, 4]]),
        scores=torch.tensor([0.2, 0.7]),
        masks=torch.from_numpy(np.stack([rectangle((4, 4, 8, 8)), rectangle((0, 0, 4, 4))])),
    )
    found = of_set(evaluate(ReferringMetric(), [sample]))
    assert found['Acc@0.5'] == found['mIoU'] == 100


def test_sets_in_one_loader_are_told_apart():
    right, wrong = dict(box=(0, 0, 4, 4)), dict(box=(5, 5, 8, 8))
    samples = [
        with_prediction(square(0, dataset=dataset, split=split), **answer)
        for dataset, split, answer in (
            ('refcoco', 'val', right),
            ('refcoco', 'testA', wrong),
            ('refcoco+', 'val', right),
        )
    ]
    metrics = evaluate(ReferringMetric(), samples, batch_size=2)  # one sent_id in all of them
    accuracy = {key: value for key, value in metrics.items() if key.endswith('Acc@0.5')}
    assert accuracy == {'refcoco/val/Acc@0.5': 100, 'refcoco/testA/Acc@0.5': 0, 'refcoco+/val/Acc@0.5': 100}


def test_duplicates_count_once_wherever_they_fall():
    samples = [with_prediction(square(i), box) for i, box in enumerate([(0, 0, 4, 4), (0, 0, 4, 4), (6, 6, 8, 8)])]
    expected = evaluate(ReferringMetric(), samples)
    # mmengine would cut the gathered results to the first three, and so lose sample 2
    assert evaluate(ReferringMetric(), [samples[0], samples[0], samples[1], samples[2]], size=3) == expected
    assert expected['toy/val/Acc@0.5'] == pytest.approx(200 / 3) and expected['toy/val/N'] == 3


def test_two_expressions_of_one_id_are_an_error():
    samples = [with_prediction(square(0), (0, 0, 4, 4)), with_prediction(square(0, text='left man'), (0, 0, 4, 4))]
    with pytest.raises(ValueError, match="sent_id 0: 'square 0' on image 0 and 'left man' on image 0"):
        evaluate(ReferringMetric(), samples)


def test_lost_results_are_told(caplog):
    # MMLogger does not propagate to the root logger, from which caplog takes its records
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        evaluate(ReferringMetric(), [with_prediction(square(0), (0, 0, 4, 4))], size=2)
    finally:
        logger.removeHandler(caplog.handler)
    assert any(
        record.levelno == logging.WARNING and '2 items, but 1 different' in record.getMessage()
        for record in caplog.records
    )
    table = '\n'.join(record.getMessage() for record in caplog.records)
    assert 'toy/val' in table and '100.00' in table


def test_second_evaluation_starts_afresh():
    metric = ReferringMetric()
    assert evaluate(metric, [with_prediction(square(0), (0, 0, 4, 4))])['toy/val/Acc@0.5'] == 100
    assert evaluate(metric, [with_prediction(square(0), (6, 6, 8, 8))])['toy/val/Acc@0.5'] == 0


def test_through_mmengines_evaluator_and_registry():
    item = square(0)
    sample = BaseDataElement(metainfo=item)
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[0.0, 0, 4, 4]], dtype=torch.bfloat16),
        scores=torch.ones(1, dtype=torch.bfloat16),
        labels=torch.zeros(1).long(),
        masks=torch.from_numpy(rectangle((0, 0, 4, 4)))[None],
    )
    evaluator = Evaluator(
        [dict(type='mmuniqrnet.ReferringMetric'), dict(type='mmuniqrnet.ReferringMetric', prefix='ema')]
    )
    evaluator.process([sample])
    metrics = evaluator.evaluate(1)
    assert metrics['toy/val/oIoU'] == metrics['ema/toy/val/oIoU'] == 100


@pytest.mark.parametrize(
    'change, said',
    [
        (dict(ori_shape=(8, 9)), r'expression 0 of toy/val: the predicted mask is \[8, 8\], but the image is \[8, 9\]'),
        (dict(pred_instances=dict(bboxes=torch.full((1, 4), np.nan), scores=torch.ones(1))), 'is not finite'),
        (dict(pred_instances=dict(bboxes=torch.zeros(1, 5), scores=torch.ones(1))), r'must be \[n, 4\]'),
        (dict(pred_instances=dict(bboxes=torch.zeros(2, 4))), 'several predictions without scores'),
        (dict(pred_instances=dict(bboxes=torch.zeros(2, 4), scores=torch.ones(1))), r'different lengths \[1, 2\]'),
        (dict(pred_instances=dict(masks=torch.zeros(1, 8, 8), scores=torch.ones(1))), 'must be bool'),
        (dict(pred_instances=dict(bboxes=torch.zeros(1, 4))), 'refuse_below is set, but the prediction has no score'),
    ],
)
def test_bad_samples_are_named(change, said):
    sample = with_prediction(square(0), (0, 0, 4, 4), rectangle((0, 0, 4, 4)))
    with pytest.raises(ValueError, match=said):
        ReferringMetric(refuse_below=0.1).process(None, [dict(sample, **change)])


def test_missing_metainfo_is_named():
    sample = with_prediction(square(7), (0, 0, 4, 4))
    del sample['instances'], sample['text']
    with pytest.raises(ValueError, match=r"expression 7 of toy/val has no \['text', 'instances'\] in its metainfo"):
        ReferringMetric().process(None, [sample])


def test_records_are_small():
    side = 1000
    metric = ReferringMetric()
    metric.process(None, [with_prediction(square(0, side=side), (0, 0, 4, 4), np.ones((side, side), bool))])
    assert len(repr(metric.results[0])) < 1000
    kept = metric.results[0].values()
    assert all(isinstance(value, str | int | float | bool | list | tuple | None) for value in kept)


def test_mean_over_sets_is_of_what_all_of_them_have():
    """Sets of different sizes weigh the same; a metric that one of them lacks has no mean, nor have the counts."""
    answers = [('a', (0, 0, 4, 4)), ('a', (0, 0, 4, 4)), ('a', (6, 6, 8, 8)), ('b', (6, 6, 8, 8))]
    samples = [
        with_prediction(square(number, dataset=name), box, rectangle(box)) for number, (name, box) in enumerate(answers)
    ]
    metrics = evaluate(ReferringMetric(mean_over_sets=True), samples, batch_size=2)
    means = of_set(metrics, 'mean')
    assert means['Acc@0.5'] == means['mIoU'] == pytest.approx((200 / 3 + 0) / 2)
    assert means.keys() == EVERY_FIGURE - {'N', 'N_box', 'N_mask'}
    plain = evaluate(ReferringMetric(), samples, batch_size=2)
    assert plain == {name: value for name, value in metrics.items() if not name.startswith('mean/')}

    boxes_only = with_prediction(square(9, dataset='c'), (0, 0, 4, 4))
    boxes_only['instances'][0].pop('mask', None)
    metrics = evaluate(ReferringMetric(mean_over_sets=True), [*samples, boxes_only], batch_size=2)
    assert of_set(metrics, 'mean').keys() == {'Acc@0.5', 'box_mIoU'}
    assert metrics['mean/Acc@0.5'] == pytest.approx((200 / 3 + 0 + 100) / 3)

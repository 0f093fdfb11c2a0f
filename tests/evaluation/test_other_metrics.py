"""mmdet's CocoMetric and mmseg's IoUMetric beside ReferringMetric, on the same answers."""

import numpy as np
import pytest
import torch
from helpers.paths import needs_mini
from helpers.refer_samples import mini_items, rectangle, square, with_prediction
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement, InstanceData
from mmseg.evaluation import IoUMetric

from mmuniqrnet.evaluation import DetectionMetric, ReferringMetric, SegmentationMetric
from mmuniqrnet.utils.errors import UserError

METRICS = [
    dict(type='mmuniqrnet.ReferringMetric'),
    dict(type='mmuniqrnet.DetectionMetric', metric=dict(type='mmdet.CocoMetric', metric=['bbox', 'segm'])),
    dict(type='mmuniqrnet.SegmentationMetric', metric=dict(type='mmseg.IoUMetric', prefix='mmseg')),
]


def run(samples: list[dict], batch_size: int = 4) -> dict:
    """Through mmengine's Evaluator, from data samples, as a test loop does."""
    evaluator = Evaluator(METRICS)
    evaluator.dataset_meta = dict(classes=('referent',))
    elements = []
    for sample in samples:
        sample = dict(sample)
        found = InstanceData(**sample.pop('pred_instances'))
        element = BaseDataElement(metainfo=sample)
        element.pred_instances = found
        elements.append(element)
    for start in range(0, len(elements), batch_size):
        evaluator.process(elements[start : start + batch_size])
    return evaluator.evaluate(len(elements))


def answer(item: dict, mask: np.ndarray, shift: float = 0.0) -> dict:
    box = np.array(item['instances'][0]['bbox']) + shift
    return with_prediction(item, box, mask)


def mini(dataset: str, split: str) -> list[tuple[dict, np.ndarray]]:
    items, coco = mini_items(dataset)
    return [(item, coco.annToMask(coco.anns[item['ann_id']]) > 0) for item in items if item['split'] == split]


@needs_mini
@pytest.mark.parametrize(
    'dataset, split', [('refcoco', 'val'), ('refcoco', 'testB'), ('refcoco+', 'val'), ('refcocog', 'test')]
)
def test_the_truth_is_perfect_to_all_three(dataset, split):
    cases = mini(dataset, split)
    # or keys by image would do as well
    assert len({item['img_id'] for item, _ in cases}) < len(cases)
    figures = run([answer(item, mask) for item, mask in cases])
    assert figures['coco/bbox_mAP'] == figures['coco/segm_mAP'] == 1.0
    assert figures['mmseg/mIoU'] == figures['mmseg/aAcc'] == 100
    assert figures[f'{dataset}/{split}/Acc@0.5'] == figures[f'{dataset}/{split}/oIoU'] == 100


@needs_mini
def test_wrong_answers_are_wrong_to_all_three():
    """Every third answer is elsewhere, the others' masks lose their right half: figures by another way of counting."""
    samples, pixels = [], np.zeros((2, 2), np.int64)  # truth, answer
    for number, (item, mask) in enumerate(mini('refcoco', 'testB')):
        guess = mask.copy()
        guess[:, int(np.mean(np.flatnonzero(mask.any(0)))) :] = False
        samples.append(answer(item, guess, shift=10_000.0 if number % 3 == 0 else 0.0))
        for true in (0, 1):
            for said in (0, 1):
                pixels[true, said] += np.count_nonzero((mask == true) & (guess == said))
    figures = run(samples)
    ious = pixels.diagonal() / (pixels.sum(0) + pixels.sum(1) - pixels.diagonal())
    assert figures['refcoco/testB/oIoU'] == pytest.approx(100 * ious[1])
    assert figures['mmseg/mIoU'] == pytest.approx(100 * ious.mean(), abs=0.006)  # it rounds to two digits
    assert figures['mmseg/aAcc'] == pytest.approx(100 * pixels.trace() / pixels.sum(), abs=0.006)
    right = np.mean([number % 3 != 0 for number in range(len(samples))])
    assert figures['refcoco/testB/Acc@0.5'] == pytest.approx(100 * right)
    # Scores are all 1, so precision over recall depends on the order; the recall does not.
    assert 0 < figures['coco/bbox_mAP'] < right + 0.01
    assert figures['coco/bbox_mAP_50'] == pytest.approx(figures['coco/bbox_mAP'], abs=1e-3)


@needs_mini
def test_iou_of_the_class_is_oiou():
    ours, theirs = ReferringMetric(), SegmentationMetric(metric=dict(type='mmseg.IoUMetric'))
    theirs.dataset_meta = dict(classes=('referent',))
    samples = []
    for number, (item, mask) in enumerate(mini('refcoco+', 'testB')):
        samples.append(answer(item, np.roll(mask, 7 * number, axis=1)))
    for metric in (ours, theirs):
        metric.process({}, samples)
    areas = [sum(column) for column in zip(*theirs.metric.results)]
    of_classes = IoUMetric.total_area_to_metrics(*areas, metrics=['mIoU'])['IoU']
    figure = ours.evaluate(len(samples))['refcoco+/testB/oIoU']
    assert 10 < figure < 90 and figure == pytest.approx(100 * of_classes[1], abs=1e-4)


def test_the_given_samples_stay_as_they_are():
    item = square(3)
    item['instances'][0]['mask'] = dict(size=[8, 8], counts=b'04')
    sample = with_prediction(item, (0, 0, 4, 4), rectangle((0, 0, 4, 4)))
    metric = DetectionMetric(metric=dict(type='mmdet.CocoMetric'))
    adapted = metric.adapt(sample)
    adapted['instances'][0]['mask']['counts'] = 'other'
    assert sample['instances'][0]['mask']['counts'] == b'04' and sample['img_id'] == 3
    assert adapted['img_id'] == 'toy/val/3'


@pytest.mark.parametrize(
    'metric',
    [
        DetectionMetric(metric=dict(type='mmdet.CocoMetric')),
        SegmentationMetric(metric=dict(type='mmseg.IoUMetric')),
    ],
)
def test_rle_that_does_not_fill_the_image_is_refused(metric):
    item = square(3)
    item['instances'][0]['mask'] = dict(size=[8, 8], counts=b'04')
    sample = with_prediction(item, (0, 0, 4, 4), rectangle((0, 0, 4, 4)))
    with pytest.raises(UserError, match=r'add up to 4 pixels, but its "size" \[8, 8\]'):
        metric.process(None, [sample])


def test_the_best_of_several_masks_and_none_at_all():
    metric = SegmentationMetric(metric=dict(type='mmseg.IoUMetric'))
    sample = with_prediction(square(0), (0, 0, 4, 4), rectangle((0, 0, 4, 4)))
    sample['pred_instances'] = dict(
        scores=torch.tensor([0.2, 0.9]), masks=torch.stack([torch.zeros(8, 8), torch.ones(8, 8)]) > 0
    )
    assert metric.adapt(sample)['pred_sem_seg']['data'].shape == (1, 8, 8)
    assert metric.adapt(sample)['pred_sem_seg']['data'].all()
    sample['pred_instances'] = dict(scores=torch.zeros(0), masks=torch.zeros(0, 8, 8, dtype=torch.bool))
    assert not metric.adapt(sample)['pred_sem_seg']['data'].any()


@pytest.mark.parametrize(
    'metric, missing, message',
    [
        (
            dict(type='mmuniqrnet.DetectionMetric', metric=dict(type='mmdet.CocoMetric')),
            'bbox',
            'toy/val/5 has no box in its truth',
        ),
        (
            dict(type='mmuniqrnet.SegmentationMetric', metric=dict(type='mmseg.IoUMetric')),
            'mask',
            'toy/val/5 has no mask in its truth',
        ),
    ],
)
def test_a_truth_that_they_can_not_count_is_said(metric, missing, message):
    item = square(5)
    del item['instances'][0][missing]
    evaluator = Evaluator([metric])
    with pytest.raises(ValueError, match=message):
        evaluator.metrics[0].process({}, [with_prediction(item, (0, 0, 4, 4), rectangle((0, 0, 4, 4)))])

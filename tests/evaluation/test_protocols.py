import numpy as np
import pytest
from helpers.paths import needs_mini
from helpers.refer_samples import evaluate, mini_items, rectangle, square, with_prediction
from PIL import Image
from pycocotools import mask as coco_mask

from mmuniqrnet.evaluation import PROTOCOLS, ReferringMetric

LOWER_HALF, WHOLE = rectangle((0, 2, 4, 4)), rectangle((0, 0, 4, 4))


def test_unknown_protocol_is_named():
    with pytest.raises(
        ValueError, match="no protocol 'lavtt'; known protocols are original, lavt, cris, cris_val, seqtr"
    ):
        ReferringMetric(protocol='lavtt')


def test_refusal_is_not_of_published_protocols():
    with pytest.raises(ValueError, match="'cris' does not define refusal"):
        ReferringMetric(protocol='cris', refuse_below=0.5)


@pytest.mark.parametrize('name', sorted(set(PROTOCOLS) - {'original'}))
def test_a_protocol_without_its_field_is_not_faked(name):
    needed = PROTOCOLS[name].mask_field
    with pytest.raises(ValueError, match=f"scores pred_instances.{needed}, but the model gives only 'masks'"):
        ReferringMetric(protocol=name).process(None, [with_prediction(square(0), mask=WHOLE)])


def test_keys_of_metrics_have_the_protocol():
    sample = with_prediction(square(0), (0, 0, 4, 4), mask_probs=WHOLE * 0.4)
    metrics = evaluate(ReferringMetric(protocol='cris'), [sample])
    assert set(metrics) == {
        f'toy/val/cris_{name}' for name in ('N', 'N_mask', 'mIoU', 'Pr@0.5', 'Pr@0.6', 'Pr@0.7', 'Pr@0.8', 'Pr@0.9')
    } | {'toy/val/cris_N_box'}
    assert metrics['toy/val/cris_mIoU'] == pytest.approx(100, abs=1e-4)  # 0.4 is above 0.35


def test_cris_is_strict():
    half = with_prediction(square(0), mask=LOWER_HALF, mask_probs=LOWER_HALF * 0.36 + WHOLE * 0.0)
    below = with_prediction(square(1), mask_probs=WHOLE * 0.34)
    metrics = evaluate(ReferringMetric(protocol='cris'), [half, below])
    assert metrics['toy/val/cris_Pr@0.5'] == 0  # IoU 8 / 16 is not > 0.5
    assert metrics['toy/val/cris_mIoU'] == pytest.approx(25, abs=1e-4)
    assert evaluate(ReferringMetric(), [half])['toy/val/Pr@0.5'] == 100  # but it is >= 0.5


@needs_mini
def test_cris_val_takes_the_first_sentence_of_each_ref():
    items, _ = mini_items('refcoco')
    first = {}
    for item in items:
        first.setdefault(item['ref_id'], item['sent_id'])  # as listed in the refs file
    rng = np.random.default_rng(0)
    # the last sentence first, so that the order of arrival would pick another
    samples = [
        with_prediction(
            item,
            mask_probs=np.full(
                item['ori_shape'], 0.9 if first[item['ref_id']] == item['sent_id'] else 0.1, dtype=np.float32
            ),
        )
        for item in rng.permutation(items)
    ]
    every = evaluate(ReferringMetric(protocol='cris'), samples)
    only_first = evaluate(ReferringMetric(protocol='cris_val'), samples)
    for split in ('val', 'testB'):
        of_split = [item for item in items if item['split'] == split]
        refs = {item['ref_id'] for item in of_split}
        share = len(refs) / len(of_split)
        assert only_first[f'refcoco/{split}/cris_val_N'] == len(refs) == 6
        assert every[f'refcoco/{split}/cris_N'] == len(of_split)
        # the whole image as mask for the first sentences, nothing for the others
        assert every[f'refcoco/{split}/cris_mIoU'] < only_first[f'refcoco/{split}/cris_val_mIoU']
        assert 0 < share < 1


@needs_mini
def test_lavt_compares_at_480_with_pillows_nearest():
    items, coco = mini_items('refcoco+')
    rng = np.random.default_rng(0)
    samples, rows = [], []
    for item in items:
        pred = rng.random((480, 480)) > 0.4
        truth = Image.fromarray(coco.annToMask(coco.anns[item['ann_id']]), mode='P')
        truth = np.array(truth.resize((480, 480), Image.NEAREST))
        rows.append((np.logical_and(pred, truth).sum(), np.logical_or(pred, truth).sum()))
        samples.append(with_prediction(dict(item, split='val'), input_masks=pred))
    metrics = evaluate(ReferringMetric(protocol='lavt'), samples, batch_size=4)
    rows = np.array(rows)
    assert metrics['refcoco+/val/lavt_oIoU'] == pytest.approx(100 * rows[:, 0].sum() / rows[:, 1].sum(), abs=1e-9)
    assert metrics['refcoco+/val/lavt_mIoU'] == pytest.approx(100 * (rows[:, 0] / rows[:, 1]).mean(), abs=1e-9)


def test_lavt_and_seqtr_give_nothing_for_nothing():
    sample = with_prediction(square(0, truth=None), input_masks=np.zeros((4, 4), bool))
    for name in ('lavt', 'seqtr'):
        assert evaluate(ReferringMetric(protocol=name), [sample])[f'toy/val/{name}_mIoU'] == 0


def test_seqtr_averages_batches():
    right, wrong = (0, 0, 4, 4), (6, 6, 8, 8)
    samples = [
        with_prediction(square(index), box, input_masks=rectangle(box))
        for index, box in enumerate([right, right, wrong])
    ]
    metrics = evaluate(ReferringMetric(protocol='seqtr'), samples, batch_size=2)
    assert metrics['toy/val/seqtr_Acc@0.5'] == metrics['toy/val/seqtr_Pr@0.9'] == 50  # of 100 and 0
    assert metrics['toy/val/seqtr_mIoU'] == pytest.approx(200 / 3)
    assert evaluate(ReferringMetric(), samples, batch_size=2)['toy/val/Acc@0.5'] == pytest.approx(200 / 3)


def test_seqtr_scores_parts_as_pycocotools_scores_a_crowd():
    item = square(0)
    item['instances'][0]['mask'] = [[0, 0, 4, 0, 4, 4, 0, 4], [5, 5, 8, 5, 8, 8, 5, 8]]
    pred, truth = rectangle((0, 0, 5, 4)), rectangle((0, 0, 4, 4)) | rectangle((5, 5, 8, 8))
    encode = lambda mask: coco_mask.encode(np.asfortranarray(mask, np.uint8))  # noqa: E731
    for parts, crowd in ((item, 1), (square(1), 0)):
        expected = coco_mask.iou([encode(pred)], [encode(truth if crowd else rectangle((0, 0, 4, 4)))], [crowd])[0, 0]
        metrics = evaluate(ReferringMetric(protocol='seqtr'), [with_prediction(parts, input_masks=pred)])
        assert metrics['toy/val/seqtr_mIoU'] == pytest.approx(100 * expected)


def test_seqtr_clips_the_truth_box():
    # truth [0, 0, 8, 8] becomes [0, 0, 7, 7], of which this box has 28 / 49, not 28 / 64
    sample = with_prediction(square(0, truth=(0, 0, 8, 8)), (0, 0, 4, 7))
    metric = ReferringMetric(protocol='seqtr')
    metric.process(None, [sample])
    assert metric.results[0]['box_iou'] == pytest.approx(28 / 49)

import json

import numpy as np
import pytest
from helpers.paths import needs_mini
from helpers.refer_samples import evaluate, mini_items, rectangle, square, with_prediction
from pycocotools import mask as coco_mask

from mmuniqrnet.evaluation import ReferringMetric, metrics_from_file, read_results


def answers(items):
    rng = np.random.default_rng(0)
    return [
        with_prediction(
            item,
            np.array(item['instances'][0]['bbox']) + rng.normal(0, 30, 4),
            rng.random(item['ori_shape']) > 0.2,
            score=float(rng.random()),
        )
        for item in items
    ]


@needs_mini
def test_every_figure_follows_from_the_file(tmp_path):
    items, coco = mini_items('refcocog')
    prefix = tmp_path / 'new' / 'run'
    metrics = evaluate(ReferringMetric(outfile_prefix=str(prefix)), answers(items), batch_size=3)
    written = sorted(path.name for path in prefix.parent.iterdir())
    assert written == ['run_refcocog_test.jsonl', 'run_refcocog_val.jsonl']
    for split in ('val', 'test'):
        path = prefix.parent / f'run_refcocog_{split}.jsonl'
        assert {f'refcocog/{split}/{name}': value for name, value in metrics_from_file(path).items()} == {
            key: value for key, value in metrics.items() if key.startswith(f'refcocog/{split}/')
        }

        # and from its boxes and masks alone, by pycocotools
        lines = [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]
        of_split = {item['sent_id']: item for item in items if item['split'] == split}
        assert [line['sent_id'] for line in lines] == list(of_split)
        iou, rows = [], []
        for line in lines:
            item = of_split[line['sent_id']]
            assert (line['text'], line['img_id'], line['img_path']) == (item['text'], item['img_id'], item['img_path'])
            assert line['truth_box'] == item['instances'][0]['bbox']
            truth = coco.annToRLE(coco.anns[item['ann_id']])
            np.testing.assert_array_equal(coco_mask.decode(line['truth_mask']), coco_mask.decode(truth))
            iou.append(coco_mask.iou([line['pred_mask']], [truth], [0])[0, 0])
            assert line['mask_iou'] == pytest.approx(iou[-1])
            masks = [dict(line['pred_mask'], counts=line['pred_mask']['counts'].encode()), truth]
            rows.append([coco_mask.area(coco_mask.merge(masks, intersect=both)) for both in (True, False)])
            assert rows[-1] == [line['mask_intersection'], line['mask_union']]
            corners = (line['pred_box'], line['truth_box'])
            boxes = [np.array([[x1, y1, x2 - x1, y2 - y1]]) for x1, y1, x2, y2 in corners]
            assert line['box_iou'] == pytest.approx(coco_mask.iou(*boxes, [0])[0, 0])
        assert metrics[f'refcocog/{split}/mIoU'] == pytest.approx(100 * np.mean(iou))
        intersection, union = np.array(rows, dtype=float).sum(0)
        assert metrics[f'refcocog/{split}/oIoU'] == pytest.approx(100 * intersection / union)


@pytest.mark.parametrize('protocol, batch_size', [('seqtr', 2), ('cris_val', 1)])
def test_the_file_keeps_what_a_protocol_needs(tmp_path, protocol, batch_size):
    fields = dict(input_masks=rectangle((0, 0, 4, 3)), mask_probs=rectangle((0, 0, 4, 3)) * 0.4)
    samples = [with_prediction(square(i, ref_id=i // 2), (i, 0, 4 + i, 4), **fields) for i in range(5)]
    metrics = evaluate(ReferringMetric(protocol=protocol, outfile_prefix=str(tmp_path / 'r')), samples, batch_size)
    found = metrics_from_file(tmp_path / 'r_toy_val.jsonl')
    assert {f'toy/val/{protocol}_{name}': value for name, value in found.items()} == metrics


def test_box_only_and_any_language(tmp_path):
    item = square(0, text='左边的“人” | ü')
    del item['instances'][0]['mask']
    metrics = evaluate(ReferringMetric(outfile_prefix=str(tmp_path / 'r')), [with_prediction(item, (0, 0, 4, 4))])
    (line,) = read_results(tmp_path / 'r_toy_val.jsonl')
    assert line['text'] == item['text'] and line['pred_mask'] is None and line['truth_mask'] is None
    assert metrics_from_file(tmp_path / 'r_toy_val.jsonl') == {'N': 1, 'N_box': 1, 'Acc@0.5': 100, 'box_mIoU': 100}
    assert metrics['toy/val/Acc@0.5'] == 100


def test_own_file_is_replaced_and_another_is_not(tmp_path):
    samples = [with_prediction(square(i), (0, 0, 4, 4)) for i in range(2)]
    path = tmp_path / 'r_toy_val.jsonl'
    for count in (2, 1):
        evaluate(ReferringMetric(outfile_prefix=str(tmp_path / 'r')), samples[:count])
        assert len(read_results(path)) == count
    for foreign in ('{"notes": "mine"}\n', 'plain text', '[1]\n'):
        path.write_text(foreign)
        with pytest.raises(FileExistsError, match='r_toy_val.jsonl exists and was not written by ReferringMetric'):
            # with the first batch, not after hours
            ReferringMetric(outfile_prefix=str(tmp_path / 'r')).process(None, samples[:1])
        assert path.read_text() == foreign


def test_what_is_no_results_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.jsonl not found; ReferringMetric writes it'):
        metrics_from_file(tmp_path / 'none.jsonl')
    path = tmp_path / 'r_toy_val.jsonl'
    evaluate(ReferringMetric(outfile_prefix=str(tmp_path / 'r')), [with_prediction(square(0), (0, 0, 4, 4))])
    path.write_text(path.read_text() + '{"cut off": ')
    with pytest.raises(ValueError, match='r_toy_val.jsonl, line 2: not a line'):
        metrics_from_file(path)
    path.write_text('')
    with pytest.raises(ValueError, match='has no lines'):
        metrics_from_file(path)


def test_old_names_work_with_a_warning():
    import mmuniqrnet.evaluation as evaluation

    for old, new in (('figures', 'compute_set_metrics'), ('figures_from_file', 'metrics_from_file')):
        with pytest.warns(DeprecationWarning, match=rf'{old} is deprecated .* use mmuniqrnet\.evaluation\.{new}'):
            assert getattr(evaluation, old) is getattr(evaluation, new)

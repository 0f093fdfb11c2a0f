"""tools/test.py on RefCOCO/+/g, our own small files and real ones, with a model that has learnt nothing."""

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.paths import MINI, NANO_CONFIG, needs_mini
from helpers.refer_mini import REFER_MINI
from helpers.tools import load_tool
from mmengine.config import Config
from mmengine.registry import DefaultScope
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmuniqrnet.evaluation import metrics_from_file
from mmuniqrnet.registry import MODELS

REFS = {'refcoco': 'refs(unc).p', 'refcoco+': 'refs(unc).p', 'refcocog': 'refs(umd).p'}
SPLITS = {'refcoco': ['val', 'testB'], 'refcoco+': ['val', 'testB'], 'refcocog': ['val', 'test']}

CONFIG = """_base_ = {base!r}
pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='ReferResize', scale=(64, 64), keep_ratio=True),
    dict(type='PackReferInputs', extra_keys=['ann_id']),
]
test_dataloader = dict(
    _delete_=True,
    batch_size=7,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ConcatDataset', datasets=[
        dict(type='ReferDataset', data_root={root!r}, ann_file=f'{{name}}/instances.json',
             split_file=f'{{name}}/{{refs}}', data_prefix=dict(img_path='images/train2014/'), split=splits,
             dataset_name=name, test_mode=True, pipeline=pipeline)
        for name, refs, splits in {sets!r}]))
test_evaluator = dict(outfile_prefix={prefix!r})
default_hooks = dict(visualization=dict(draw=False))
# an untrained network gives almost every pixel less than 0.5
model = dict(head=dict(test_cfg=dict(mask_threshold=0.4)))
visualizer = dict(name={prefix!r})  # one of a name lives as long as the process
"""


@pytest.fixture(
    scope='module', params=[pytest.param(REFER_MINI, id='ours'), pytest.param(MINI, id='real', marks=needs_mini)]
)
def data(request) -> Path:
    return request.param


@pytest.fixture(scope='module')
def tested(data, tmp_path_factory) -> tuple[dict, list[dict], Path]:
    """The figures, the dumped predictions and the folder of one run of the tool."""
    folder = tmp_path_factory.mktemp('real')
    config = folder / 'real.py'
    config.write_text(
        CONFIG.format(
            base=str(NANO_CONFIG),
            root=str(data),
            prefix=str(folder / 'single'),
            sets=[(name, refs, SPLITS[name]) for name, refs in REFS.items()],
        )
    )
    torch.manual_seed(1)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'untrained.pth')
    try:
        metrics = load_tool('test').main(
            [
                str(config),
                str(folder / 'untrained.pth'),
                '--work-dir',
                str(folder / 'work'),
                '--out',
                str(folder / 'answers.pkl'),
            ]
        )
    finally:
        DefaultScope._instance_dict.clear()
    return metrics, pickle.loads((folder / 'answers.pkl').read_bytes()), folder


def counts(data: Path) -> dict[str, int]:
    """Expressions by set, straight from the refs files."""
    found = Counter()
    for name, refs in REFS.items():
        for ref in pickle.loads((data / name / refs).read_bytes()):
            if ref['split'] in SPLITS[name]:
                found[f'{name}/{ref["split"]}'] += len(ref['sentences'])
    return dict(found)


def test_every_expression_of_every_set_is_answered_once(data, tested):
    metrics, answers, folder = tested
    assert {key.removesuffix('/N'): value for key, value in metrics.items() if key.endswith('/N')} == counts(data)
    assert Counter(f'{a["dataset"]}/{a["split"]}' for a in answers) == counts(data)
    rows = json.loads((folder / 'work' / 'results.json').read_text())['rows']
    assert {row['set']: row['N'] for row in rows} == counts(data)
    assert all(0 < row['text-blind'] <= 100 for row in rows)


def test_every_figure_follows_from_the_dumped_predictions(data, tested):
    """By pycocotools, from its own reading of the annotations: neither truth nor overlap is ours."""
    metrics, answers, _ = tested
    expected = {}
    for name in REFS:
        coco = COCO(str(data / name / 'instances.json'))
        for split in SPLITS[name]:
            found = [a for a in answers if (a['dataset'], a['split']) == (name, split)]
            figures = recount(found, coco)
            expected.update({f'{name}/{split}/{key}': value for key, value in figures.items()})
    assert set(metrics) == set(expected)
    for key, value in expected.items():
        assert metrics[key] == pytest.approx(value, abs=1e-3), key
    # an untrained model's figures, not those of a test that compares nothing with nothing
    assert any(value > 1 for key, value in metrics.items() if key.endswith('/oIoU'))


def recount(answers: list[dict], coco: COCO) -> dict[str, float]:
    box_ious, overlaps, around = [], [], []
    for answer in answers:
        annotation = coco.anns[answer['ann_id']]
        image = coco.imgs[annotation['image_id']]
        assert (image['height'], image['width']) == tuple(answer['ori_shape'])
        found = answer['pred_instances']
        box = found['bboxes'][0].double().numpy()
        box = np.array([*box[:2], *(box[2:] - box[:2])])
        rle = found['masks'][0]
        assert rle['size'] == [image['height'], image['width']]
        truth = coco.annToRLE(annotation)
        box_ious.append(coco_mask.iou([box], [annotation['bbox']], [0])[0, 0])
        both = (
            int(coco_mask.area(coco_mask.merge([rle, truth], intersect=True))),
            int(coco_mask.area(coco_mask.merge([rle, truth]))),
        )
        overlaps.append(both)
        tight = coco_mask.toBbox(rle)
        around.append(coco_mask.iou([box], [tight], [0])[0, 0] if coco_mask.area(rle) else 0.0)
    boxes, (intersections, unions) = np.array(box_ious), np.array(overlaps).T
    masks = intersections / unions
    n = len(answers)
    scores = [float(answer['pred_instances']['scores'][0]) for answer in answers]
    error = 0.0
    for k in range(10):
        inside = [i for i, score in enumerate(scores) if k / 10 <= score < (k + 1) / 10]
        error += abs(sum(scores[i] for i in inside) - sum(box_ious[i] for i in inside)) / n
    figures = dict(N=n, N_box=n, N_mask=n, ECE=100 * error)
    figures |= {f'Pr@{x}': 100 * np.mean(masks >= x) for x in (0.5, 0.6, 0.7, 0.8, 0.9)}
    return figures | {
        'Acc@0.5': 100 * np.mean(boxes >= 0.5),
        'box_mIoU': 100 * boxes.mean(),
        'mIoU': 100 * masks.mean(),
        'oIoU': 100 * intersections.sum() / unions.sum(),
        'box_mask_IoU': 100 * np.mean(around),
        'agreement': 100 * np.mean((boxes >= 0.5) == (masks >= 0.5)),
    }


def test_the_results_files_give_the_same_figures(tested):
    metrics, _, folder = tested
    for name, splits in SPLITS.items():
        for split in splits:
            figures = metrics_from_file(folder / f'single_{name}_{split}.jsonl')
            assert {f'{name}/{split}/{key}': value for key, value in figures.items()} == {
                key: value for key, value in metrics.items() if key.startswith(f'{name}/{split}/')
            }

"""Data samples for tests of the evaluation: made up ones, and the real ones of RefCOCO mini."""

import json
import pickle

import numpy as np
import torch
from pycocotools.coco import COCO

from .paths import MINI

SPLITS_BY = {'refcoco': 'unc', 'refcoco+': 'unc', 'refcocog': 'umd'}


def mini_items(dataset):
    """The items of all splits, straight from the released files, and pycocotools' own reader of the annotations."""
    folder = MINI / dataset
    with (folder / f'refs({SPLITS_BY[dataset]}).p').open('rb') as file:
        refs = pickle.load(file)
    coco = COCO.__new__(COCO)
    coco.dataset = json.loads((folder / 'instances.json').read_text())
    coco.createIndex()
    items = []
    for ref in refs:
        ann, image = coco.anns[ref['ann_id']], coco.imgs[ref['image_id']]
        x, y, w, h = ann['bbox']
        for sentence in ref['sentences']:
            items.append(
                dict(
                    img_path=str(MINI / 'images' / 'train2014' / image['file_name']),
                    img_id=ref['image_id'],
                    ori_shape=(image['height'], image['width']),
                    sent_id=sentence['sent_id'],
                    ref_id=ref['ref_id'],
                    ann_id=ref['ann_id'],
                    text=sentence['raw'],
                    dataset=dataset,
                    split=ref['split'],
                    instances=[dict(bbox=[x, y, x + w, y + h], bbox_label=0, ignore_flag=0, mask=ann['segmentation'])],
                )
            )
    return items, coco


def with_prediction(item, box=None, mask=None, score=1.0, **fields):
    """The item as a metric gets it; ``box`` [4], ``mask`` [H, W] bool."""
    prediction = dict(scores=torch.tensor([score]), labels=torch.tensor([0]))
    if box is not None:
        prediction['bboxes'] = torch.as_tensor(np.array([box]), dtype=torch.float32)
    if mask is not None:
        prediction['masks'] = torch.from_numpy(np.asarray(mask, dtype=bool)[None].copy())
    prediction.update({name: torch.from_numpy(np.asarray(value)[None].copy()) for name, value in fields.items()})
    return dict(item, pred_instances=prediction)


def square(sent_id, side=8, truth=(0, 0, 4, 4), dataset='toy', split='val', **fields):
    """An item of which the truth is a rectangle (xyxy, whole pixels), or nothing where ``truth`` is None."""
    instances = []
    if truth is not None:
        x1, y1, x2, y2 = truth
        polygon = [x1, y1, x2, y1, x2, y2, x1, y2]
        instances = [dict(bbox=[float(value) for value in truth], bbox_label=0, ignore_flag=0, mask=[polygon])]
    item = dict(
        img_path=f'{sent_id}.jpg',
        img_id=sent_id,
        ori_shape=(side, side),
        sent_id=sent_id,
        ref_id=sent_id,
        text=f'square {sent_id}',
        dataset=dataset,
        split=split,
        instances=instances,
    )
    return dict(item, **fields)


def rectangle(box, side=8):
    """A bool mask [side, side] of the whole pixels in xyxy ``box``; empty where it is None."""
    mask = np.zeros((side, side), dtype=bool)
    if box is not None:
        x1, y1, x2, y2 = box
        mask[y1:y2, x1:x2] = True
    return mask


def evaluate(metric, samples, batch_size=1, size=None):
    for start in range(0, len(samples), batch_size):
        metric.process(None, samples[start : start + batch_size])
    return metric.evaluate(len(samples) if size is None else size)

"""The model that comes with the package, on scenes that it was not trained on."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from safetensors import safe_open

import mmuniqrnet
from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.apis.shipped import SHIPPED
from mmuniqrnet.datasets.refshapes.writer import draw_scene
from mmuniqrnet.structures.overlap import box_iou, mask_overlap

PATH = Path(mmuniqrnet.__file__).parent / 'weights' / SHIPPED
SCENES = 25

pytestmark = pytest.mark.skipif(not PATH.is_file(), reason=f'needs the shipped weights: {SHIPPED}')


def test_the_file_is_small_and_says_what_made_it():
    assert PATH.stat().st_size <= 8e6
    with safe_open(PATH, framework='pt') as file:
        words = file.metadata()
    assert {'config', 'command', 'seed', 'figures', 'mmuniqrnet_version'} <= set(words)
    assert 'python tools/train.py configs/uniqrnet_swin-nano_refshapes.py' in words['command']
    assert words['seed'].isdigit()
    figures = {row['set']: row for row in json.loads(words['figures'])}
    assert {'refshapes/val', 'refshapes/testA', 'refshapes/testB'} <= set(figures)
    assert all(row['Acc@0.5'] > 70 and row['mIoU'] > 60 for row in figures.values())
    assert not [text for text in words.values() if '/work' in text or '/tmp' in text or '/home' in text]
    assert "type='UniQRNet'" in words['config'] and '_base_' not in words['config']


def test_most_answers_on_new_scenes_are_right():
    """Other seeds than that of the data (0), so other scenes."""
    ask = UniQRNetInferencer(device='cpu', show_progress=False)
    pictures, layouts, described = zip(*(draw_scene(1, 'val', index) for index in range(SCENES)))
    asked = [[one.raw for expressions in scene for one in expressions] for scene in described]
    answers = ask([picture[..., ::-1] for picture in pictures], asked)['predictions']
    things = [
        thing
        for layout, scene in zip(layouts, described)
        for thing, expressions in zip(layout.objects, scene)
        for _ in expressions
    ]
    boxes, masks = [], []
    for answer, thing in zip(answers, things, strict=True):
        x, y, w, h = thing.bbox
        boxes.append(box_iou(np.array(answer['box']), np.array([x, y, x + w, y + h])))
        intersection, union = mask_overlap(coco_mask.decode(answer['mask']).astype(bool), thing.mask)
        masks.append(intersection / union)
    assert len(boxes) > 3 * SCENES
    assert np.mean(np.array(boxes) > 0.5) > 0.65 and np.mean(masks) > 0.6

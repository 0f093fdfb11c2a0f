"""The model that comes with the package, on scenes that it was not trained on."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from safetensors import safe_open

from mmuniqrnet.apis import UniQRNetInferencer, shipped_weights
from mmuniqrnet.datasets.refshapes.writer import draw_scene

PATH = shipped_weights('shapes')
SCENES = 25


def figures() -> dict[str, dict]:
    """What the file says of itself, by set."""
    with safe_open(PATH, framework='pt') as file:
        return {row['set']: row for row in json.loads(file.metadata()['figures'])}


def test_the_file_is_small_and_says_what_made_it():
    assert PATH.stat().st_size <= 8e6
    with safe_open(PATH, framework='pt') as file:
        words = file.metadata()
    assert {'config', 'command', 'seed', 'figures', 'mmuniqrnet_version'} <= set(words)
    assert 'python tools/train.py configs/uniqrnet_swin-nano_refshapes.py' in words['command']
    assert words['seed'].isdigit()
    assert {'refshapes/val', 'refshapes/testA', 'refshapes/testB'} <= set(figures())
    assert all(row['Acc@0.5'] > 70 and row['mIoU'] > 60 for row in figures().values())
    assert not [text for text in words.values() if '/work' in text or '/tmp' in text or '/home' in text]
    assert "type='UniQRNet'" in words['config'] and '_base_' not in words['config']


def test_answers_on_new_scenes_are_as_right_as_the_file_says():
    """Of other seeds than that of the data (0), scored in NumPy; within two standard errors of so few answers."""
    ask = UniQRNetInferencer(weights='shapes', device='cpu', show_progress=False)
    pictures, layouts, described = zip(*(draw_scene(1, 'val', index) for index in range(SCENES)))
    asked = [[one.raw for expressions in scene for one in expressions] for scene in described]
    answers = ask([picture[..., ::-1] for picture in pictures], asked)['predictions']
    things = [
        thing
        for layout, scene in zip(layouts, described)
        for thing, expressions in zip(layout.objects, scene)
        for _ in expressions
    ]
    right, box_ious, mask_ious = [], [], []
    for answer, thing in zip(answers, things, strict=True):
        rows, columns = np.nonzero(thing.mask)
        left, top, right_edge, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        x1, y1, x2, y2 = answer['box']
        inner = max(0, min(x2, right_edge) - max(x1, left)) * max(0, min(y2, bottom) - max(y1, top))
        box_ious.append(inner / ((x2 - x1) * (y2 - y1) + (right_edge - left) * (bottom - top) - inner))
        right.append(box_ious[-1] >= 0.5)
        guess = coco_mask.decode(answer['mask']) > 0
        mask_ious.append((guess & thing.mask).sum() / (guess | thing.mask).sum())
    assert len(answers) > 3 * SCENES
    said = figures()['refshapes/val']
    for name, values in {'Acc@0.5': right, 'box_mIoU': box_ious, 'mIoU': mask_ious}.items():
        standard_error = np.std(values) / np.sqrt(len(values))
        assert np.mean(values) == pytest.approx(said[name] / 100, abs=2 * standard_error), name

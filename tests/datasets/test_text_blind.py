"""The text-blind guess: by hand, and as a bound."""

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from mmuniqrnet.datasets.refshapes.writer import draw_scene
from mmuniqrnet.datasets.text_blind import text_blind_accuracy, text_blind_by_set


def items(*boxes: tuple, img_id: int = 1) -> list[dict]:
    return [dict(img_id=img_id, instances=[dict(bbox=list(box))]) for box in boxes]


def test_text_blind_accuracy_by_hand():
    a, b, c = (0, 0, 10, 10), (50, 50, 60, 60), (80, 0, 90, 30)
    assert text_blind_accuracy(items(a, a, a, b, c)) == pytest.approx(60)
    assert text_blind_accuracy(items(a, a, b) + items(b, c, img_id=2)) == pytest.approx(60)
    nearly_a = (0, 0, 10, 9)
    assert text_blind_accuracy(items(a, nearly_a, b)) == pytest.approx(200 / 3)
    # The box around two equal neighbours has IoU 0.5 with either.
    assert text_blind_accuracy(items(a, (10, 0, 20, 10))) == pytest.approx(100)
    with pytest.raises(ValueError, match='at least one expression'):
        text_blind_accuracy([])
    with pytest.raises(ValueError, match='exactly one box'):
        text_blind_accuracy([dict(img_id=1, text='both', instances=items(a)[0]['instances'] * 2)])


def test_no_box_beats_it():
    rng = np.random.default_rng(0)
    for index in range(40):
        _, layout, _ = draw_scene(0, 'val', index)
        truths = np.array([placed.bbox for placed in layout.objects], dtype=np.float64)
        found = items(*np.concatenate([truths[:, :2], truths[:, :2] + truths[:, 2:]], 1))
        corners = np.sort(rng.random((5000, 2, 2)) * [layout.width, layout.height], axis=1)
        guesses = np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], 1)
        right = (mask_utils.iou(guesses, truths, [0] * len(truths)) >= 0.5).sum(1).max()
        assert 100 * right / len(found) <= text_blind_accuracy(found) + 1e-6


def test_by_set_leaves_out_what_has_no_single_box():

    class Mixed:
        rows = [
            dict(dataset='a', split=split, **item)
            for split, item in [
                *(('val', item) for item in items((0, 0, 10, 10), (50, 50, 60, 60))),
                ('val', dict(img_id=9, instances=[])),
                ('test', dict(img_id=3, instances=[dict(mask=[])])),
                *(('train', item) for item in items((0, 0, 10, 10), (0, 0, 10, 10))),
            ]
        ]

        def __len__(self):
            return len(self.rows)

        def get_data_info(self, index):
            return self.rows[index]

    assert text_blind_by_set(Mixed()) == {'a/val': pytest.approx(50), 'a/train': pytest.approx(100)}

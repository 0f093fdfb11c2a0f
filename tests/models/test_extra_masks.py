"""What published protocols look at: probabilities on the image, and masks on the network's grid."""

import cv2
import numpy as np
import pytest
import torch
from helpers.placed_items import BOXES, SHOWN, STORED, placed_items
from helpers.tiny_model import CANVAS, head_config, tiny_model
from mmdet.structures import DetDataSample
from PIL import Image

from mmuniqrnet.evaluation import ReferringMetric
from mmuniqrnet.registry import MODELS


def truth_mask(i: int) -> np.ndarray:
    mask = np.zeros(STORED[i], bool)
    x1, y1, x2, y2 = map(int, BOXES[i])
    mask[y1:y2, x1:x2] = True
    return mask


def answers(**changes) -> tuple[list[DetDataSample], torch.Tensor]:
    """The answers, and the mask branch's logits at stride 4 of the canvas."""
    model, logits = tiny_model(head=head_config(**changes)), []
    model.head.mask_branch.register_forward_hook(lambda module, inputs, out: logits.append(out.detach()))
    return model.test_step(placed_items()), logits[0]


def resize(array: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_LINEAR)


def test_the_protocols_count_what_the_head_adds():
    samples, logits = answers(test_cfg=dict(extra_masks=('mask_probs', 'input_masks')))
    cris, lavt = [], []
    for i, sample in enumerate(samples):
        (h, w), (height, width) = SHOWN[i], STORED[i]
        canvas = resize(logits[i, 0].numpy(), CANVAS, CANVAS)
        top, left = (CANVAS - h) // 2, (CANVAS - w) // 2
        shown = canvas[top : top + h, left : left + w]
        probs = 1 / (1 + np.exp(-resize(shown, height, width)))
        found = sample.pred_instances
        assert found.mask_probs.shape == (1, height, width) and found.mask_probs.is_floating_point()
        assert np.allclose(found.mask_probs[0].numpy(), probs, atol=1e-4)
        assert found.input_masks.shape == (1, h, w) and found.input_masks.dtype == torch.bool
        assert (found.input_masks[0].numpy() != (shown > 0)).mean() < 0.01  # rounding at 0
        assert torch.equal(found.masks, found.mask_probs > 0.5)
        guess, truth = probs > 0.35, truth_mask(i)
        cris.append((guess & truth).sum() / ((guess | truth).sum() + 1e-6))
        truth = np.asarray(Image.fromarray(truth.astype(np.uint8)).resize((w, h), Image.Resampling.NEAREST)) > 0
        lavt.append(((shown > 0) & truth).sum() / max(((shown > 0) | truth).sum(), 1))
    assert min(cris + lavt) > 0.05 and max(cris + lavt) < 0.95
    for protocol, ious in (('cris', cris), ('lavt', lavt)):
        metric = ReferringMetric(protocol=protocol)
        metric.process({}, [sample.to_dict() for sample in samples])
        assert metric.evaluate(2)[f'toy/val/{protocol}_mIoU'] == pytest.approx(100 * np.mean(ious), abs=0.05)


def test_answers_hold_them_only_where_asked():
    for names in ((), ('mask_probs',), ('input_masks',)):
        (sample, *_), _ = answers(test_cfg=dict(extra_masks=names))
        assert {'mask_probs', 'input_masks'} & set(sample.pred_instances.keys()) == set(names)


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(test_cfg=dict(extra_masks=('mask_prob',))),
            "extra_masks is a list of some of 'mask_probs', 'input_masks'",
        ),
        (dict(test_cfg=dict(extra_masks='mask_probs')), "extra_masks is a list of some of 'mask_probs', 'input_masks'"),
        (dict(test_cfg=dict(extra_masks=('mask_probs',)), mask_branch=None), 'extra_masks needs a mask_branch'),
    ],
)
def test_other_names_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(head_config(**changes))

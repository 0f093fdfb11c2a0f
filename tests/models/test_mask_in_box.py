import pytest
import torch
from helpers.placed_items import placed_items
from helpers.tiny_model import head_config, item, tiny_model

from mmuniqrnet.models.heads.mask_and_box import cut_to_box


def test_what_lies_outside_the_grown_box_is_cut_and_the_rest_stays():
    logits = torch.ones(2, 1, 5, 10)
    # x 0.2..0.4, y 0.4..0.6 of a canvas of 20 x 40 (height x width): 8..16, 8..12; the second box is the whole canvas.
    boxes = torch.tensor([[0.3, 0.5, 0.2, 0.2], [0.5, 0.5, 1.0, 1.0]])
    cut = cut_to_box(logits, boxes, (20, 40), 0.0)
    expected = torch.zeros(20, 40, dtype=torch.bool)
    expected[8:12, 8:16] = True
    assert cut.shape == (2, 1, 20, 40)
    assert torch.equal(cut[0, 0] == 1, expected) and (cut[0, 0][~expected] < -20).all() and (cut[1] == 1).all()
    grown = cut_to_box(logits, boxes, (20, 40), 0.25)  # by 2 pixels left and right, 1 above and below
    expected[7:13, 6:18] = True
    assert torch.equal(grown[0, 0] == 1, expected)


def test_answers_are_cut_to_their_boxes_in_original_pixels_and_losses_are_not():
    plain = tiny_model()
    cut = tiny_model(head=head_config(test_cfg=dict(mask_margin=0.0)))
    cut.load_state_dict(plain.state_dict())
    for model in (plain, cut):
        torch.nn.init.constant_(model.head.mask_branch.classifier.layers[-1].bias, 3.0)  # everything is mask
    lost = 0
    for before, after in zip(plain.test_step(placed_items()), cut.test_step(placed_items())):
        assert torch.equal(before.pred_instances.bboxes, after.pred_instances.bboxes)
        assert torch.equal(before.pred_instances.scores, after.pred_instances.scores)
        x1, y1, x2, y2 = after.pred_instances.bboxes[0].tolist()
        before, after = before.pred_instances.masks[0], after.pred_instances.masks[0]
        ys, xs = after.nonzero().T
        slack = 2  # the canvas's pixels are two of the picture's
        assert x1 - slack <= xs.min() and xs.max() <= x2 + slack and y1 - slack <= ys.min() and ys.max() <= y2 + slack
        assert not (after & ~before).any()
        core = torch.zeros_like(after)
        core[int(y1) + slack : int(y2) - slack, int(x1) + slack : int(x2) - slack] = True
        assert torch.equal(after[core], before[core])
        lost += (before & ~after).sum()
    assert lost > 100
    samples = [item(boxes=[[8, 8, 40, 40]], masks=[torch.eye(48, 64)])]
    data = dict(inputs=[s['inputs'] for s in samples], data_samples=[s['data_samples'] for s in samples])
    losses = []
    for model in (plain, cut):
        torch.manual_seed(0)  # of the place on the canvas
        losses.append(model.train()(**model.data_preprocessor(data, True), mode='loss'))
    assert all(torch.equal(losses[0][key], losses[1][key]) for key in losses[0])


@pytest.mark.parametrize('threshold', [0, 1, 50, float('nan')])
def test_a_mask_threshold_is_a_probability(threshold):
    with pytest.raises(ValueError, match='mask_threshold=.* is a probability: more than 0 and less than 1'):
        tiny_model(head=head_config(test_cfg=dict(mask_threshold=threshold)))


def test_a_margin_needs_a_box_and_a_mask():
    for changes in (dict(box_branch=None), dict(mask_branch=None), dict(test_cfg=dict(mask_margin=-0.1))):
        with pytest.raises(
            ValueError, match='mask_margin=.* needs a box_branch and a mask_branch, and must not be negative'
        ):
            tiny_model(head=head_config(**dict(test_cfg=dict(mask_margin=0.1)) | changes))

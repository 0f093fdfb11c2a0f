"""Boxes that are corrected from the features around them."""

import pytest
import torch
from helpers.head_samples import BOTH, NO_BOX, NO_MASK, centred, head, targets, whole_losses
from helpers.tiny_model import DIM, batch_of
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps

from mmuniqrnet.models import BoxRefiner
from mmuniqrnet.models.heads.box_losses import NEAR, box_losses, refined_box_losses
from mmuniqrnet.models.heads.box_refiner import (
    LARGEST_LOG_FACTOR,
    LARGEST_SHIFT,
    LEAST_SIDE,
    RefinerInputs,
    jittered,
    sampled,
)
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

REFINED = dict(box_refiner=dict(type='BoxRefiner', embed_dims=DIM, in_channels=DIM, feat_channels=8, grid=3))
L1 = dict(type='mmdet.L1Loss', loss_weight=1.0)
GIOU = dict(type='mmdet.GIoULoss', loss_weight=1.0)


def overlap(a, b):
    return bbox_overlaps(bbox_cxcywh_to_xyxy(a), bbox_cxcywh_to_xyxy(b), is_aligned=True)


def small_refiner(**changes):
    torch.manual_seed(0)
    options = dict(embed_dims=8, in_channels=4, feat_channels=8, grid=3, sees_mask=False) | changes
    return BoxRefiner(**options)


def with_an_answer(refiner):
    """The refiner, whose last layer is not zero any more."""
    torch.nn.init.normal_(refiner.mlp.layers[-1].weight, std=0.1)
    return refiner


def test_a_cell_is_the_mean_of_its_part_of_the_box():
    # Of a map that is linear in x and y, the mean over a cell is the value at the cell's centre.
    ys, xs = torch.meshgrid((torch.arange(20) + 0.5) / 20, (torch.arange(30) + 0.5) / 30, indexing='ij')
    maps = torch.stack([xs, ys])[None].repeat(2, 1, 1, 1)
    boxes = torch.tensor([[[0.5, 0.4, 0.3, 0.6], [0.3, 0.6, 0.12, 0.06]], [[0.7, 0.5, 0.4, 0.2], [0.5, 0.5, 0.6, 0.6]]])
    values = sampled(maps, boxes[..., :2], boxes[..., 2:], 3).view(2, 2, 2, 3, 3)
    thirds = torch.tensor([-1, 0, 1]) / 3
    for b in range(2):
        for k in range(2):
            cx, cy, w, h = boxes[b, k]
            assert torch.allclose(values[b, k, 0], (cx + w * thirds).expand(3, 3), atol=1e-6)
            assert torch.allclose(values[b, k, 1], (cy + h * thirds)[:, None].expand(3, 3), atol=1e-6)
    beyond = sampled(maps + 1, torch.full((2, 1, 2), 1.6), torch.full((2, 1, 2), 0.5), 3)
    assert beyond.abs().max() == 0


def test_before_training_the_answer_is_the_start():
    refiner = small_refiner()
    start = torch.tensor([[[0.3, 0.4, 0.2, 0.1], [0.9, 0.1, 0.3, 0.001]]])
    for boxes in refiner(start, torch.randn(1, 8), torch.randn(1, 8, 6, 6)):
        assert torch.allclose(boxes[0, 0], start[0, 0])
        assert boxes[0, 1].tolist() == pytest.approx([0.9, 0.1, 0.3, LEAST_SIDE])


def test_changes_are_relative_to_the_box():
    refiner = with_an_answer(small_refiner(num_steps=1))
    reg, features = torch.randn(1, 8), torch.ones(1, 8, 6, 6)
    small, large = torch.tensor([[[0.5, 0.5, 0.1, 0.2]]]), torch.tensor([[[0.5, 0.5, 0.3, 0.6]]])
    (a,), (b,) = refiner(small, reg, features), refiner(large, reg, features)
    assert (a[0, 0, :2] - 0.5).abs().min() > 1e-3
    assert torch.allclose(3 * (a[0, 0, :2] - 0.5), b[0, 0, :2] - 0.5, atol=1e-6)
    assert torch.allclose(3 * a[0, 0, 2:], b[0, 0, 2:], atol=1e-6)


def test_a_batch_and_several_boxes_are_what_each_is_alone():
    refiner = with_an_answer(small_refiner())
    boxes, reg, features = torch.rand(3, 2, 4) * 0.3 + 0.2, torch.randn(3, 8), torch.randn(3, 8, 6, 5)
    whole = refiner(boxes, reg, features)
    assert len(whole) == 2 and not torch.allclose(whole[0], whole[1], atol=1e-3)
    for i in range(3):
        for k in range(2):
            alone = refiner(boxes[i : i + 1, k : k + 1], reg[i : i + 1], features[i : i + 1])
            assert all(torch.allclose(a[0, 0], w[i, k], atol=1e-6) for a, w in zip(alone, whole))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = refiner(boxes, reg, features.bfloat16())
    assert half[-1].dtype == torch.float32
    assert torch.allclose(half[-1], whole[-1], atol=0.02)
    wide = refiner.double()(boxes.double(), reg.double(), features.double())
    assert wide[-1].dtype == torch.float64 and torch.allclose(wide[-1].float(), whole[-1], atol=1e-5)


def test_jittered_boxes_stay_within_the_limits_and_differ():
    torch.manual_seed(0)
    boxes = torch.tensor([[0.5, 0.4, 0.2, 0.1], [0.2, 0.8, 0.05, 0.3]])
    moved = jittered(boxes, 500)
    shift = (moved[..., :2] - boxes[:, None, :2]) / boxes[:, None, 2:]
    factor = (moved[..., 2:] / boxes[:, None, 2:]).log()
    for values, limit in ((shift, LARGEST_SHIFT), (factor, LARGEST_LOG_FACTOR)):
        assert values.abs().max() <= limit + 1e-5
        assert values.amin(1).max() < -0.9 * limit and values.amax(1).min() > 0.9 * limit
        assert values.mean(1).abs().max() < 0.1 * limit
    assert overlap(moved.flatten(0, 1), boxes.repeat_interleave(500, 0)).min() > 0.1
    torch.manual_seed(0)
    assert torch.equal(moved, jittered(boxes, 500))


def test_it_learns_to_fit_a_box_to_what_is_there():
    torch.manual_seed(0)
    refiner = BoxRefiner(embed_dims=8, in_channels=1, feat_channels=8, sees_mask=False)
    optimizer = torch.optim.Adam(refiner.parameters(), lr=3e-3)
    l1, giou = MODELS.build(L1), MODELS.build(GIOU)
    cells = (torch.arange(48) + 0.5) / 48

    def batch(n):
        truth = targets(boxes=torch.rand(n, 4) * 0.3 + torch.tensor([0.35, 0.35, 0.08, 0.08]), batch=n)
        (x, y), (w, h) = truth.boxes[:, :2].T[..., None], truth.boxes[:, 2:].T[..., None]
        inside = ((cells - y).abs() < h / 2)[:, :, None] & ((cells - x).abs() < w / 2)[:, None]
        features = refiner.features([torch.zeros(n, 8, 3, 3)], [inside[:, None].float()], None)
        return truth, torch.zeros(n, 8), features

    for _ in range(150):
        truth, reg, features = batch(16)
        losses = refined_box_losses(refiner, RefinerInputs(truth.boxes, reg, features), truth, l1, giou)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    truth, reg, features = batch(64)
    start = jittered(truth.boxes, 1)
    before = overlap(start[:, 0], truth.boxes).mean()
    after = [overlap(boxes[:, 0], truth.boxes).mean() for boxes in refiner(start, reg, features)]
    assert before < 0.55 and after[0] > 0.7 and after[1] > after[0]


def test_the_loss_is_of_every_step_and_of_boxes_near_the_object_only():
    refiner = with_an_answer(small_refiner(num_jittered=0))
    truth = targets(boxes=torch.tensor([[0.5, 0.5, 0.2, 0.2]] * 3), has_box=[1.0, 1.0, 0.0], batch=3)
    boxes = torch.tensor([[0.52, 0.5, 0.2, 0.25], [0.2, 0.2, 0.1, 0.1], [0.52, 0.5, 0.2, 0.25]])
    assert overlap(boxes[:2], truth.boxes[:2]).tolist() == [pytest.approx(2 / 3, abs=1e-3), 0.0] and NEAR == 0.2
    reg, features = torch.randn(3, 8), torch.randn(3, 8, 6, 6)
    l1, giou = MODELS.build(L1), MODELS.build(GIOU)
    found = refined_box_losses(refiner, RefinerInputs(boxes, reg, features), truth, l1, giou)
    first = targets(boxes=truth.boxes[:1], batch=1, inside=torch.ones(1, 1, 16, 16))
    steps = [box_losses(s[:, 0], first, l1, giou) for s in refiner(boxes[:1, None], reg[:1], features[:1])]
    for name in ('l1', 'giou'):
        expected = sum(step[f'loss_box_{name}'] for step in steps) / 2
        assert found[f'loss_box_refined_{name}'].item() == pytest.approx(expected.item(), rel=1e-4)


def test_losses_train_every_parameter_and_the_start_gets_no_gradient():
    model, losses = whole_losses([BOTH, NO_MASK, NO_BOX], centred(**REFINED))
    assert {'loss_box_l1', 'loss_box_refined_l1', 'loss_box_refined_giou'} <= losses.keys()
    assert all(x.dim() == 0 and x.isfinite() for x in losses.values())
    (losses['loss_box_refined_l1'] + losses['loss_box_refined_giou']).backward()
    assert all(p.grad is not None for p in model.head.box_refiner.parameters())
    assert all(p.grad is None for p in model.head.box_branch.parameters())
    _, losses = whole_losses([NO_BOX], centred(**REFINED))
    assert losses['loss_box_refined_l1'] == losses['loss_box_refined_giou'] == 0


def test_before_training_a_head_with_it_answers_as_without_it():
    with_it, without = centred(**REFINED).eval(), centred().eval()
    with_it.load_state_dict(without.state_dict(), strict=False)
    answers = []
    for model in (with_it, without):
        data = model.data_preprocessor(batch_of([BOTH]))
        answers.append(model.predict(data['inputs'], data['data_samples'])[0].pred_instances)
    assert torch.allclose(answers[0].bboxes, answers[1].bboxes, atol=1e-3)
    assert torch.equal(answers[0].masks, answers[1].masks)


def test_what_is_predicted_is_the_last_step_and_the_branch_s_losses_are_of_its_own_box():
    model = centred(**REFINED)
    with_an_answer(model.head.box_refiner)
    data = model.data_preprocessor(batch_of([BOTH, NO_MASK]), training=True)
    found = model.loss(data['inputs'], data['data_samples'])
    found['loss_box_l1'].backward(retain_graph=True)
    assert all(p.grad is not None for p in model.head.box_branch.parameters())
    assert all(p.grad is None for p in model.head.box_refiner.parameters())

    part, heard = model.eval().head.box_refiner, []
    part.register_forward_hook(lambda module, given, steps: heard.append((given[0], steps)))
    (answer, _) = model.predict(data['inputs'], data['data_samples'])
    ((start, steps),) = heard
    assert (steps[-1][0] - start[0]).abs().max() > 0.01  # of a canvas of 64 pixels
    expected = (bbox_cxcywh_to_xyxy(steps[-1][0, 0]) * 64)[None]
    placed = answer.metainfo['canvas_offset'][::-1]
    expected = expected - torch.tensor([*placed, *placed])
    assert torch.allclose(answer.pred_instances.bboxes, expected.clamp(min=0), atol=0.05)


def test_without_box_losses_it_is_frozen_and_the_branch_learns_from_the_mask():
    options = dict(loss_box_l1=None, loss_box_giou=None, loss_consistency=dict(type='BoxMaskConsistencyLoss'))
    model, losses = whole_losses([BOTH], centred(**REFINED, **options))
    assert not any(p.requires_grad for p in model.head.box_refiner.parameters())
    assert not any(name.startswith('loss_box') for name in losses)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.head.box_branch.parameters())


@pytest.mark.parametrize(
    'options, words',
    [
        (REFINED | dict(box_branch=None, box_from_mask=False, loss_consistency=None), 'box_refiner needs a box_branch'),
        (REFINED | dict(mask_branch=None, box_from_mask=False, loss_consistency=None), 'sees_mask=False'),
        (dict(box_refiner=dict(type='BoxRefiner', grid=0)), 'grid must be 1 or more, not 0'),
        (dict(box_refiner=dict(type='BoxRefiner', num_jittered=-1)), 'num_jittered must be 0 or more'),
        (dict(box_refiner=dict(type='BoxRefiner', enlarged=0.5)), 'enlarged must be 1 or more'),
    ],
)
def test_what_does_not_fit_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        head(**options)


def test_a_level_that_the_neck_does_not_give_is_named():
    refiner = small_refiner(level=2)
    with pytest.raises(UserError, match='level=2 must be less than the number of maps that the neck gives, 1'):
        refiner.features([torch.zeros(1, 8, 2, 2)], [torch.zeros(1, 4, 4, 4)], None)

import math

import numpy as np
import pytest
import torch
from helpers.head_samples import BOTH, NO_BOX, NO_MASK, centred, head, predictions, targets, whole_losses
from helpers.tiny_model import DIM, batch_of, item, neck_maps, text_features

from mmuniqrnet.structures import Placement

LOSSES = ('loss_box_l1', 'loss_box_giou', 'loss_mask_bce', 'loss_mask_dice', 'loss_score')


def corners(box):
    cx, cy, w, h = box
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def iou_and_giou(one, other):
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = corners(one), corners(other)
    width, height = min(ax2, bx2) - max(ax1, bx1), min(ay2, by2) - max(ay1, by1)
    intersection = max(width, 0) * max(height, 0)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - intersection
    hull = (max(ax2, bx2) - min(ax1, bx1)) * (max(ay2, by2) - min(ay1, by1))
    return intersection / union, intersection / union - (hull - union) / hull


def score_loss(out, truth):
    model = head()
    return model.score_loss(model.loss_score, out, truth)


@pytest.mark.parametrize('has_box', [[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
def test_box_losses_are_means_over_the_samples_that_have_a_box(has_box):
    boxes, _ = predictions()
    truth = targets(has_box=has_box)
    losses = head().box_losses(boxes, truth)
    pairs = [(p.tolist(), t.tolist()) for p, t, known in zip(boxes, truth.boxes, has_box) if known]
    l1 = sum(abs(a - b) for p, t in pairs for a, b in zip(p, t)) / len(pairs)
    giou = sum(1 - iou_and_giou(p, t)[1] for p, t in pairs) / len(pairs)
    assert losses['loss_box_l1'].item() == pytest.approx(l1, rel=1e-5)
    assert losses['loss_box_giou'].item() == pytest.approx(giou, rel=1e-5)


def cross_entropy(logits, masks):
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return -(masks * np.log(p) + (1 - masks) * np.log(1 - p))


@pytest.mark.parametrize('has_mask', [[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
def test_mask_losses_by_hand(has_mask):
    _, logits = predictions()
    truth = targets(has_mask=has_mask)
    losses = head().mask_losses(logits, truth)
    x, masks, inside = (t.detach().numpy()[:, 0] for t in (logits, truth.masks, truth.inside))
    known = [i for i in range(3) if has_mask[i]]
    pixels = np.concatenate([cross_entropy(x[i], masks[i])[inside[i] == 1] for i in known])
    assert losses['loss_mask_bce'].item() == pytest.approx(pixels.mean(), rel=1e-5)
    dice = []
    for i in known:
        p = 1 / (1 + np.exp(-x[i][inside[i] == 1].astype(np.float64)))
        m = masks[i][inside[i] == 1]
        dice.append(1 - 2 * (p * m).sum() / ((p**2).sum() + (m**2).sum() + 2e-3))
    assert losses['loss_mask_dice'].item() == pytest.approx(np.mean(dice), rel=1e-4)


def test_what_the_logits_say_on_padding_does_not_matter():
    model, truth = head(), targets()
    _, logits = predictions()
    other = torch.where(truth.inside == 1, logits, -20 * logits)
    for name, value in model.mask_losses(logits, truth).items():
        assert model.mask_losses(other, truth)[name].item() == pytest.approx(value.item(), rel=1e-6)
    for name, value in model.mask_losses(logits, truth).items():
        (grad,) = torch.autograd.grad(value, logits)
        assert not grad[truth.inside == 0].any() and grad[truth.inside == 1].all(), name


@pytest.mark.parametrize('stride', [4, 8])
def test_coarse_logits_are_held_to_the_share_of_each_cell(stride):
    """A cell's target is the part of it that is object, its weight the part that is image."""
    truth = targets(batch=1, size=16, inside=torch.ones(1, 1, 16, 16))
    truth.inside[..., 16 - stride // 2 :] = 0
    logits = torch.randn(1, 1, 16 // stride, 16 // stride, generator=torch.Generator().manual_seed(3))
    model = head()
    loss = model.pixel_loss(model.loss_aux, logits, truth)
    total = weights = 0
    for y in range(16 // stride):
        for x in range(16 // stride):
            cell = slice(y * stride, (y + 1) * stride), slice(x * stride, (x + 1) * stride)
            share, weight = truth.masks[0, 0][cell].mean().item(), truth.inside[0, 0][cell].mean().item()
            total += weight * cross_entropy(logits[0, 0, y, x].numpy(), share)
            weights += weight
    assert loss.item() == pytest.approx(total / weights, rel=1e-5)


def test_logits_are_upsampled_before_the_loss_of_full_size():
    _, logits = predictions(size=4)
    truth = targets()
    full = torch.nn.functional.interpolate(logits, size=(16, 16), mode='bilinear')
    model = head()
    assert torch.equal(
        model.mask_losses(logits, truth)['loss_mask_bce'], model.mask_losses(full, truth)['loss_mask_bce']
    )
    coarse = head(mask_loss_stride=4)
    assert torch.allclose(
        coarse.mask_losses(logits, truth)['loss_mask_bce'], coarse.pixel_loss(coarse.loss_mask_bce, logits, truth)
    )


def test_the_score_learns_the_iou_of_the_box():
    boxes, _ = predictions()
    truth = targets(has_box=[1.0, 1.0, 0.0], exists=[1.0, 1.0, 0.0])
    scores = torch.tensor([0.3, -2.0, 1.5])
    loss = score_loss(dict(boxes=boxes, score_logits=scores), truth)
    quality = [iou_and_giou(boxes[i].tolist(), truth.boxes[i].tolist())[0] for i in (0, 1)] + [0]  # none: worth nothing
    expected = cross_entropy(scores.numpy(), np.array(quality)).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert boxes.grad is None


def test_the_score_ignores_samples_whose_answer_is_unknown():
    boxes, _ = predictions()
    scores = torch.tensor([0.3, -2.0, 1.5])
    loss = score_loss(dict(boxes=boxes, score_logits=scores), targets(has_box=[1.0, 0.0, 1.0]))
    other = score_loss(
        dict(boxes=boxes, score_logits=scores * torch.tensor([1, 9, 1])), targets(has_box=[1.0, 0.0, 1.0])
    )
    assert torch.equal(loss, other)


def test_the_score_of_a_mask_leaves_padding_out():
    truth = targets(batch=1, inside=torch.ones(1, 1, 16, 16))
    truth.inside[..., 8:] = 0
    truth.masks[..., 8:] = 0
    logits = torch.where(truth.masks > 0, 3.0, -3.0)
    logits[..., 8:] = 3.0  # the prediction says object where there is no image; it will be cut off
    loss = score_loss(dict(mask_logits=logits, score_logits=torch.tensor([2.0])), truth)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-5)  # the IoU is 1


# The whole -----------------------------------------------------------------------------------------------------------


def test_names_of_losses():
    _, losses = whole_losses([BOTH])
    auxiliary = {f'loss_aux_backbone{i}' for i in range(4)} | {'loss_aux_neck0', 'loss_aux_neck1'}
    assert losses.keys() == {*LOSSES} | auxiliary
    assert all(x.dim() == 0 and x.isfinite() and x > 0 for x in losses.values())


@pytest.mark.parametrize(
    'missing, prefixes', [(NO_BOX, ('loss_box', 'loss_score')), (NO_MASK, ('loss_mask', 'loss_aux'))]
)
def test_an_item_without_a_truth_does_not_count_for_that_task(missing, prefixes):
    model = centred()
    _, alone = whole_losses([BOTH], model)
    _, together = whole_losses([BOTH, missing], model)
    for name in alone:
        same = math.isclose(alone[name].item(), together[name].item(), rel_tol=1e-4)
        assert same == name.startswith(prefixes), name


@pytest.mark.parametrize(
    'missing, prefixes', [(NO_BOX, ('loss_box', 'loss_score')), (NO_MASK, ('loss_mask', 'loss_aux'))]
)
def test_a_batch_without_a_truth_is_zero_and_still_in_the_graph(missing, prefixes):
    model, losses = whole_losses([missing], centred())
    for name in [n for n in losses if n.startswith(prefixes)]:
        assert losses[name].item() == 0 and losses[name].requires_grad
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    branch = model.head.box_branch if missing is NO_BOX else model.head.mask_branch
    assert not any(p.grad.any() for p in branch.parameters())


def test_every_parameter_is_trained():
    model, losses = whole_losses([BOTH, NO_BOX, NO_MASK])
    sum(losses.values()).backward()
    # Rows of embeddings that no token uses have none; every tensor is reached all the same.
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_expressions_that_fit_nothing():
    nothing = item(boxes=[], masks=np.zeros((0, 48, 64)), seed=4)
    model, losses = whole_losses([nothing], centred())
    assert losses['loss_box_l1'] == 0 and losses['loss_mask_bce'] > 0 and losses['loss_score'] > 0
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    'name', ['loss_box_l1', 'loss_box_giou', 'loss_mask_bce', 'loss_mask_dice', 'loss_aux', 'loss_score']
)
def test_a_loss_that_is_switched_off_is_left_out(name):
    _, all_losses = whole_losses([BOTH], centred())
    _, losses = whole_losses([BOTH], centred(**{name: None}))
    assert losses.keys() == {n for n in all_losses if not n.startswith(name)}
    assert all(torch.allclose(losses[n], all_losses[n]) for n in losses)


@pytest.mark.parametrize('name, type_', [('loss_box_l1', 'mmdet.L1Loss'), ('loss_mask_dice', 'mmdet.DiceLoss')])
def test_a_loss_of_weight_zero_is_zero_and_stays_in_the_graph(name, type_):
    model, losses = whole_losses([BOTH], centred(**{name: dict(type=type_, loss_weight=0.0)}))
    assert losses[name] == 0 and losses[name].requires_grad
    losses[name].backward()
    assert not any(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(
    'branch, prefixes',
    [
        ('box_branch', ('loss_mask', 'loss_aux', 'loss_score')),
        ('mask_branch', ('loss_box', 'loss_aux', 'loss_score')),
        ('score_branch', ('loss_box', 'loss_mask', 'loss_aux')),
        ('pixel_guidance', ('loss_box', 'loss_mask', 'loss_score')),
    ],
)
def test_each_branch_can_be_left_out(branch, prefixes):
    model, losses = whole_losses([BOTH, NO_BOX, NO_MASK], centred(**{branch: None}))
    assert all(name.startswith(prefixes) for name in losses) and len({n[:8] for n in losses}) == 3
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_no_branch_at_all_is_refused():
    with pytest.raises(ValueError, match='give a box_branch, a mask_branch or both'):
        head(box_branch=None, mask_branch=None)


def test_losses_under_autocast_are_finite_float32():
    model = centred()
    data = model.data_preprocessor(batch_of([BOTH, NO_BOX]), training=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(data['inputs'], data['data_samples'])
    _, full = whole_losses([BOTH, NO_BOX], model)
    for name, value in losses.items():
        assert value.dtype == torch.float32 and value.item() == pytest.approx(full[name].item(), rel=0.1), name


SEES = dict(type='BoxBranch', embed_dims=DIM, sees_reference=True)


@pytest.mark.parametrize('changes', [{}, dict(box_branch=SEES), dict(box_branch=SEES | dict(type='PointingBoxBranch'))])
def test_a_box_from_the_mask_leaves_the_mask_to_its_own_losses(changes):
    model = centred(box_from_mask=True, **changes)
    _, losses = whole_losses([BOTH], model)
    (losses['loss_box_l1'] + losses['loss_box_giou']).backward()
    assert all(p.grad is not None for p in model.head.box_branch.parameters())
    assert all(p.grad.any() for p in model.head.box_branch.mlp.parameters())
    assert all(p.grad is None for p in model.head.mask_branch.parameters())


@pytest.mark.parametrize('changes', [{}, dict(box_branch=SEES)])
def test_a_box_from_the_mask_starts_where_the_mask_is(changes):
    model = head(box_from_mask=True, **changes)
    last = model.box_branch.mlp.layers[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    # A mask logit that is the same for every pixel, but for what lies on padding.
    last = model.mask_branch.classifier.layers[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    padding = torch.ones(1, 64, 64, dtype=torch.bool)
    padding[:, 16:40, 8:56] = False
    boxes = model(neck_maps(batch=1), text_features(batch=1), padding)['boxes']
    assert boxes[0].tolist() == pytest.approx([32 / 64, 28 / 64, 48 / 64, 24 / 64], abs=1e-4)  # the image, no padding


def test_a_branch_that_sees_its_reference_needs_one():
    with pytest.raises(ValueError, match='sees_reference=True, which needs box_from_mask=True'):
        head(box_branch=SEES, box_from_mask=False)


@pytest.mark.parametrize('missing', ['box_branch', 'mask_branch'])
def test_a_box_from_the_mask_needs_both(missing):
    with pytest.raises(ValueError, match='box_from_mask needs a box_branch and a mask_branch'):
        head(box_from_mask=True, **{missing: None})


# Answers -------------------------------------------------------------------------------------------------------------


def samples(*placements):
    items = [item() for _ in placements]
    for i, p in zip(items, placements):
        i['data_samples'].set_metainfo(
            dict(ori_shape=p.ori_shape, img_shape=p.img_shape, batch_input_shape=p.canvas_shape, canvas_offset=p.offset)
        )
    return [i['data_samples'] for i in items]


def test_answers_are_in_original_pixels():
    model = head()
    canvas = (64, 128)
    placements = [Placement((120, 160), (48, 64), canvas, (8, 30)), Placement((30, 20), (60, 40), canvas, (2, 9))]
    levels, text = neck_maps(width=128), text_features()
    padding = torch.stack([p.padding_mask() for p in placements])
    raw = model(levels, text, padding)
    answers = model.predict(levels, text, padding, samples(*placements))
    for i, (p, answer) in enumerate(zip(placements, answers)):
        (height, width), (top, left) = p.ori_shape, p.offset
        sx, sy = width / p.img_shape[1], height / p.img_shape[0]
        x1, y1, x2, y2 = corners(raw['boxes'][i].tolist())
        expected = [(128 * x1 - left) * sx, (64 * y1 - top) * sy, (128 * x2 - left) * sx, (64 * y2 - top) * sy]
        expected = [min(max(v, 0), limit) for v, limit in zip(expected, (width, height, width, height))]
        assert answer.bboxes[0].tolist() == pytest.approx(expected, abs=1e-3)
        assert answer.masks.shape == (1, height, width) and answer.masks.dtype == torch.bool
        assert torch.equal(answer.masks, p.map_to_original(raw['mask_logits'][i]) > 0)
        assert answer.scores.tolist() == pytest.approx([1 / (1 + math.exp(-raw['score_logits'][i].item()))])
        assert answer.labels.tolist() == [0]
        assert not answer.bboxes.requires_grad


def test_the_mask_threshold_is_a_probability():
    placement = Placement((48, 64), (48, 64), (64, 64), (8, 0))
    padding = placement.padding_mask()[None]
    levels, text = neck_maps(batch=1), text_features(batch=1)
    raw = head()(levels, text, padding)['mask_logits']
    for threshold in (0.2, 0.35, 0.8):
        answer = head(test_cfg=dict(mask_threshold=threshold)).predict(levels, text, padding, samples(placement))[0]
        expected = placement.map_to_original(raw[0]) > math.log(threshold / (1 - threshold))
        assert torch.equal(answer.masks, expected)


def test_options_that_moved_to_test_cfg_still_work_and_say_so():
    with pytest.warns(FutureWarning, match=r'mask_threshold has moved, set test_cfg=dict\(mask_threshold='):
        old = head(mask_threshold=0.3)
    assert old.test_cfg == head(test_cfg=dict(mask_threshold=0.3)).test_cfg
    with pytest.raises(TypeError, match="unexpected keyword argument 'mask_treshold'"):
        head(mask_treshold=0.3)
    with pytest.raises(ValueError, match="test_cfg has no option 'mask_treshold'; did you mean mask_threshold"):
        head(test_cfg=dict(mask_treshold=0.3))

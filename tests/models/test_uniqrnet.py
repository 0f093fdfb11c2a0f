import copy

import numpy as np
import pytest
import torch
from helpers.tiny_model import (
    CANVAS,
    CHANNELS,
    DIM,
    backbone_config,
    batch_of,
    head_config,
    item,
    rectangle,
    text_encoder_config,
    tiny_model,
)
from helpers.two_ranks import run_two_ranks
from mmdet.visualization import DetLocalVisualizer
from mmengine.registry import MODELS as ROOT_MODELS

from mmuniqrnet.registry import MODELS

ITEMS = [
    item(48, 64, text='the red circle', ori_shape=(96, 128), seed=1),
    item(64, 40, text='blue star on the left of it', ori_shape=(100, 62), seed=2),
    item(30, 20, text='ring', seed=3),
]
BOX, MASK = [8.0, 4.0, 24.0, 20.0], rectangle(48, 64, 8, 4, 24, 20)
TRAINING_ITEM = item(48, 64, boxes=[BOX], masks=[MASK])
PLAIN_SWIN = {
    k: v
    for k, v in backbone_config(type='mmdet.SwinTransformer').items()
    if k not in ('text_dim', 'gate_rank', 'gate_reduction')
}
DET_PREPROCESSOR = dict(
    type='mmdet.DetDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_mask=True,
    pad_size_divisor=32,
)


def with_text(given, text):
    given = copy.deepcopy(given)
    given['data_samples'].set_metainfo(dict(text=text))
    return given


def answers(model, items):
    return [s.pred_instances for s in model.test_step(batch_of(items))]


def raw(model, items):
    data = model.data_preprocessor(batch_of(items))
    with torch.no_grad():
        return model(data['inputs'], data['data_samples'], mode='tensor')


@pytest.mark.parametrize('position', ['sine', 'learned'])
def test_one_by_one_and_together_give_the_same_answers(position):
    head = head_config()
    head['encoder'].update(position=position, level_sizes=((4, 4), (2, 2)))
    model = tiny_model(head=head)
    for together, given in zip(answers(model, ITEMS), ITEMS):
        (alone,) = answers(model, [given])
        assert torch.allclose(together.bboxes, alone.bboxes, atol=1e-3)
        assert torch.allclose(together.scores, alone.scores, atol=1e-5)
        assert (together.masks != alone.masks).float().mean() < 0.002


def test_the_text_changes_the_answer():
    model = tiny_model()
    one, other = (raw(model, [with_text(ITEMS[0], text)]) for text in ('the red circle', 'the blue circle'))
    assert all(not torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_the_text_reaches_the_answer_through_the_backbone_alone():
    model = tiny_model(neck=None, head=neckless_head())
    sentences = [model.text_encoder([t]) for t in ('the red circle', 'the blue circle')]
    images, padding = torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool)
    one, other = (model.extract_maps(images, text, padding).levels for text in sentences)
    assert all(not torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other))


def test_answers_are_boxes_and_masks_of_the_original_image():
    model = tiny_model()
    for given, answer in zip(ITEMS, answers(model, ITEMS)):
        height, width = given['data_samples'].ori_shape
        assert answer.bboxes.shape == (1, 4) and answer.masks.shape == (1, height, width)
        x1, y1, x2, y2 = answer.bboxes[0].tolist()
        assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height
        assert answer.labels.tolist() == [0] and 0 < answer.scores < 1


def test_a_box_over_the_whole_canvas_is_the_whole_image():
    model = tiny_model()
    last = model.head.box_branch.mlp.layers[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([0.0, 0.0, 20.0, 20.0])  # centre 0.5, size 1 of the canvas
    for given, answer in zip(ITEMS, answers(model, ITEMS)):
        height, width = given['data_samples'].ori_shape
        assert answer.bboxes.tolist() == [[0, 0, width, height]]


def test_the_place_on_the_canvas_is_undone():
    """A model that always answers with the middle of the canvas: the middle of a centred image."""
    model = tiny_model()
    last = model.head.box_branch.mlp.layers[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([0.0, 0.0, -2.1972246, -2.1972246])  # sigmoid: 0.5, 0.5, 0.1, 0.1
    (answer,) = answers(model, ITEMS[:1])
    side = 0.1 * CANVAS * 2  # the image was halved
    assert torch.allclose(
        answer.bboxes, torch.tensor([[64 - side / 2, 48 - side / 2, 64 + side / 2, 48 + side / 2]]), atol=1e-3
    )


def test_prediction_leaves_the_truth_and_metainfo_alone():
    model, given = tiny_model(), copy.deepcopy(ITEMS[0])
    truth = [dict(bbox=[1.0, 2.0, 3.0, 4.0])]
    given['data_samples'].set_metainfo(dict(instances=truth, sent_id=77))
    (sample,) = model.test_step(batch_of([given]))
    result = sample.to_dict()
    assert result['instances'] == [dict(bbox=[1.0, 2.0, 3.0, 4.0])] and result['sent_id'] == 77
    assert result['ori_shape'] == (96, 128) and result['text'] == 'the red circle'
    assert set(result['pred_instances']) == {'bboxes', 'masks', 'scores', 'labels'}


def test_train_step_lowers_the_loss():
    model = tiny_model(
        data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=CANVAS, placement='center')
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    totals = []
    for _ in range(12):
        data = model.data_preprocessor(batch_of([TRAINING_ITEM]), training=True)
        total, log = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0] and set(log) > {'loss', 'loss_box_l1', 'loss_mask_bce'}


@pytest.mark.parametrize('branch, missing', [('mask_branch', 'masks'), ('box_branch', 'bboxes')])
def test_boxes_only_and_masks_only(branch, missing):
    (answer,) = answers(tiny_model(head=head_config(**{branch: None})), ITEMS[:1])
    assert set(answer.keys()) == {'bboxes', 'masks', 'scores', 'labels'} - {missing}


def test_without_a_score_branch_every_score_is_one():
    assert answers(tiny_model(head=head_config(score_branch=None)), ITEMS[:1])[0].scores.tolist() == [1.0]


def test_auxiliary_masks_are_not_computed_at_test_time():
    model, calls = tiny_model(), []
    model.head.pixel_guidance.register_forward_hook(lambda *args: calls.append(1))
    answers(model, ITEMS)
    assert not calls
    data = model.data_preprocessor(batch_of([TRAINING_ITEM]), training=True)
    model(**data, mode='loss')
    assert calls


# Images that several expressions share ------------------------------------------------------------------------------


def shared_items():
    """Five expressions: three about one image, two about two others."""
    seeds, texts = (1, 2, 1, 1, 3), ('the red circle', 'ring', 'blue star', 'the left ring', 'ring')
    boxes = [[8.0, 4.0, 24.0 + i, 20.0 + i] for i in range(5)]
    return [
        item(48, 64, text=text, boxes=[box], masks=[rectangle(48, 64, *map(int, box))], seed=seed, img_path=str(seed))
        for seed, text, box in zip(seeds, texts, boxes)
    ]


def sharing(share_images, **changes):
    preprocessor = dict(type='ReferDataPreprocessor', canvas_size=CANVAS, placement='center', share_images=share_images)
    return tiny_model(data_preprocessor=preprocessor, **changes)


def losses_and_gradients(model, items):
    model.train()
    data = model.data_preprocessor(batch_of(copy.deepcopy(items)), training=True)
    losses = model(**data, mode='loss')
    sum(losses.values()).backward()
    return losses, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def fpn(channels=CHANNELS):
    return dict(type='mmdet.FPN', in_channels=list(channels), out_channels=DIM, num_outs=5)


GUIDED = head_config()
GUIDED['pixel_guidance'] = dict(GUIDED['pixel_guidance'], guide_gates=True)


@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(backbone=backbone_config(with_cp=True)),
        dict(backbone=backbone_config(gated_stages=(3,))),
        dict(backbone=backbone_config(gated_stages=()), neck=fpn()),
        dict(backbone=PLAIN_SWIN),
        dict(backbone=PLAIN_SWIN, neck=fpn()),
        dict(head=GUIDED),
    ],
    ids=['gated', 'checkpointing', 'gated late', 'not gated', 'plain backbone', 'plain backbone and neck', 'gates'],
)
def test_losses_and_gradients_are_those_without_sharing(changes):
    results, rows = [], []

    def count_rows(module, inputs, output):
        rows.append(len(inputs[0]))

    for share_images in (True, False):
        model = sharing(share_images, **copy.deepcopy(changes))
        model.backbone.patch_embed.register_forward_hook(count_rows)
        results.append(losses_and_gradients(model, shared_items()))
    assert rows == [3, 5]
    (losses, gradients), (expected, expected_gradients) = results
    assert losses.keys() == expected.keys() and gradients.keys() == expected_gradients.keys()
    assert all(torch.allclose(losses[name], expected[name], rtol=1e-5, atol=1e-6) for name in expected)
    largest = max(gradient.abs().max() for gradient in expected_gradients.values())
    for name, gradient in expected_gradients.items():
        assert torch.allclose(gradients[name], gradient, rtol=1e-4, atol=1e-5 * float(largest)), name


def test_answers_are_those_without_sharing():
    shared, expected = (answers(sharing(share_images), shared_items()) for share_images in (True, False))
    for one, other in zip(shared, expected, strict=True):
        assert torch.allclose(one.bboxes, other.bboxes, atol=1e-3) and torch.allclose(one.scores, other.scores)
        assert (one.masks != other.masks).float().mean() < 0.001


def step_on_two_ranks(rank, folder):
    """Save the averaged gradients of DDP: rank 0 has three distinct images for its five expressions, rank 1 five."""
    items = shared_items()
    if rank:
        items = [item(48, 64, text=f'ring {i}', boxes=[BOX], masks=[MASK], seed=9 + i) for i in range(5)]
    for share_images in (True, False):
        model = sharing(share_images).train()
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
        data = model.data_preprocessor(batch_of(copy.deepcopy(items)), training=True)
        assert len(data['inputs']) == (3 if share_images and not rank else 5)
        sum(wrapped(**data, mode='loss').values()).backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        torch.save(gradients, f'{folder}/{rank}{share_images}.pt')


@pytest.mark.slow
def test_ranks_may_share_differently(tmp_path):
    run_two_ranks(step_on_two_ranks, tmp_path)
    gradients, ours, expected = (torch.load(tmp_path / f'{name}.pt') for name in ('0True', '1True', '0False'))
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        assert torch.equal(gradients[name], ours[name])
        assert torch.allclose(gradients[name], gradient, rtol=1e-4, atol=1e-5 * largest), name


# With other parts of OpenMMLab --------------------------------------------------------------------------------------


def test_mmdets_preprocessor():
    model = tiny_model(data_preprocessor=DET_PREPROCESSOR)
    (sample,) = model.test_step(batch_of(ITEMS[:1]))
    assert sample.batch_input_shape == (64, 64) and sample.pred_instances.masks.shape == (1, 96, 128)
    ours = tiny_model(data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=64, test_placement='corner'))
    for name, value in raw(ours, ITEMS[:1]).items():
        assert torch.allclose(raw(model, ITEMS[:1])[name], value, atol=1e-4)


def test_mmdets_preprocessor_in_training():

    def losses(preprocessor):
        model = tiny_model(data_preprocessor=preprocessor)
        return model(**model.data_preprocessor(batch_of([TRAINING_ITEM]), training=True), mode='loss')

    ours = losses(dict(type='ReferDataPreprocessor', canvas_size=64, placement='corner'))
    theirs = losses(DET_PREPROCESSOR)
    assert all(torch.allclose(theirs[name], value, atol=1e-4) for name, value in ours.items())


PLAIN_BACKBONES = {
    'ResNet': (dict(type='mmdet.ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN')), (8, 16, 32, 64)),
    'Swin': (PLAIN_SWIN, CHANNELS),
}


@pytest.mark.parametrize('name', PLAIN_BACKBONES)
def test_a_plain_backbone_and_neck_of_mmdet(name):
    backbone, channels = PLAIN_BACKBONES[name]
    head = head_config()
    head['pixel_guidance'].update(backbone_channels=channels)
    model = tiny_model(
        backbone=backbone,
        neck=dict(type='mmdet.FPN', in_channels=list(channels), out_channels=DIM, num_outs=5),
        head=head,
    )
    (answer,) = answers(model, ITEMS[:1])
    assert answer.masks.shape == (1, 96, 128)
    one, other = (raw(model, [with_text(ITEMS[0], text)])['boxes'] for text in ('the red circle', 'the blue circle'))
    assert not torch.allclose(one, other, atol=1e-6)  # the text still reaches the encoder
    losses = model(**model.data_preprocessor(batch_of([TRAINING_ITEM]), training=True), mode='loss')
    sum(losses.values()).backward()
    assert all(p.grad is not None for n, p in model.backbone.named_parameters() if p.requires_grad)


def neckless_head():
    head = head_config(pixel_guidance=None)
    head['encoder'].update(in_channels=CHANNELS[3], levels=(3,), num_levels=4)
    head['mask_branch'] = None
    return head


def test_no_neck():
    (answer,) = answers(tiny_model(neck=None, head=neckless_head()), ITEMS[:1])
    assert answer.bboxes.shape == (1, 4)


def test_the_visualizer_of_mmdet_draws_the_answer():
    model = tiny_model()
    (sample,) = model.test_step(batch_of(ITEMS[:1]))
    sample.pred_instances.bboxes = torch.tensor([[20.0, 30.0, 80.0, 90.0]])
    sample.pred_instances.masks = torch.from_numpy(rectangle(96, 128, 20, 30, 80, 90)).bool()[None]
    sample.pred_instances.scores = torch.ones(1)
    picture = np.full((96, 128, 3), 128, dtype=np.uint8)
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = dict(classes=('referent',))
    visualizer.add_datasample('answer', picture.copy(), sample, draw_gt=False, pred_score_thr=0.3)
    drawn = visualizer.get_image()
    assert drawn.shape == picture.shape and (drawn[45:75, 35:65] != 128).any(-1).mean() > 0.9
    assert (drawn[:, 100:] == 128).all()  # nothing outside it


def test_it_is_built_from_any_scope():
    config = dict(
        type='mmuniqrnet.UniQRNet',
        data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=CANVAS),
        text_encoder=text_encoder_config(),
        backbone=backbone_config(),
        neck=None,
        head=neckless_head(),
    )
    model = ROOT_MODELS.build(config)
    assert type(model) is MODELS.get('UniQRNet') and type(model.data_preprocessor).__name__ == 'ReferDataPreprocessor'


# Errors -------------------------------------------------------------------------------------------------------------


def test_a_sample_without_its_expression_is_refused():
    model, bare = tiny_model(), copy.deepcopy(ITEMS[0])
    bare['data_samples'].pop('text')
    with pytest.raises(ValueError, match="needs its expression as metainfo 'text'.*PackReferInputs"):
        model.test_step(batch_of([ITEMS[1], bare]))


def test_images_without_samples_are_refused():
    model = tiny_model()
    with pytest.raises(ValueError, match="needs its expression as metainfo 'text'"):
        model(torch.zeros(1, 3, 64, 64))

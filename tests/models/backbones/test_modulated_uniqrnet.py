"""UniQRNet with other backbones: built from a config, trained and asked."""

import copy
import uuid

import pytest
import torch
from helpers.nano_model import nano_checkpoint, nano_config, scene
from helpers.tiny_model import (
    CANVAS,
    CHANNELS,
    TEXT_DIM,
    batch_of,
    head_config,
    item,
    neck_config,
    rectangle,
    text_encoder_config,
    tiny_model,
)
from mmdet.models.backbones import ResNet
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmuniqrnet.apis import UniQRNetInferencer

pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')

ITEMS = [
    item(48, 64, text=text, seed=1, boxes=[[8, 4, 24, 20]], masks=[rectangle(48, 64, 8, 4, 24, 20)])
    for text in ('the red circle', 'blue star on the left of it')
]
RESNET = dict(type='mmdet.ResNet', depth=18, base_channels=CHANNELS[0])
CONVNEXT = dict(
    type='TransformersBackbone', model=dict(model_type='convnext', hidden_sizes=list(CHANNELS), depths=[1, 1, 1, 1])
)
DINOV2 = dict(
    type='TransformersBackbone',
    model=dict(
        model_type='dinov2', hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, patch_size=16
    ),
)
# From maps of stride 16, an even number of places wide, maps of strides 4 to 32.
PYRAMID = dict(type='mmseg.Feature2Pyramid', embed_dim=16, norm_cfg=dict(type='BN'))
BACKBONES = dict(
    resnet=(dict(body=RESNET), CHANNELS),
    convnext=(dict(body=CONVNEXT), CHANNELS),
    dinov2=(dict(body=DINOV2, pyramid=PYRAMID), (16, 16, 16, 16)),
)


def modulated(name: str, **changes) -> dict:
    options, _ = BACKBONES[name]
    gates = dict(gate_reduction=4, gate_rank=4, gate_norm=True, gate_limit=4.0, gate_output='after_norm')
    return dict(type='QueryModulated', text_dim=TEXT_DIM, **gates, **copy.deepcopy(options)) | changes


def parts(name: str, guide_gates: bool = False, **changes) -> dict:
    channels = BACKBONES[name][1]
    head = head_config()
    head['pixel_guidance'].update(backbone_channels=channels, guide_gates=guide_gates)
    neck = neck_config(in_channels=channels, gated=False)  # the text gates the backbone alone
    return dict(backbone=modulated(name, **changes), neck=neck, head=head)


@pytest.mark.parametrize('name, guide_gates', [('resnet', True), ('convnext', True), ('dinov2', False)])
def test_it_is_trained_and_answers(name, guide_gates):
    shared = dict(type='ReferDataPreprocessor', canvas_size=CANVAS, share_images=True)
    model = tiny_model(data_preprocessor=shared, **parts(name, guide_gates)).train()
    model.backbone.init_weights()
    data = model.data_preprocessor(batch_of(ITEMS), training=True)
    assert len(data['inputs']) == 1  # both expressions are about the same image
    losses = model(**data, mode='loss')
    assert ('loss_aux_gate_backbone0' in losses) == guide_gates, sorted(losses)
    total, _ = model.parse_losses(losses)
    assert torch.isfinite(total)
    total.backward()
    assert [n for n, p in model.backbone.named_parameters() if p.requires_grad and p.grad is None] == []
    assert model.text_encoder.model.embeddings.word_embeddings.weight.grad.any()
    answers = model.eval().test_step(batch_of(ITEMS))
    assert [x.pred_instances.masks.shape for x in answers] == [(1, 48, 64)] * 2


def test_the_text_reaches_the_maps_through_the_backbone_alone():
    model = tiny_model(**parts('resnet'))
    one, other = (model.text_encoder([text]) for text in ('the red circle', 'the blue circle'))
    images, padding = torch.randn(1, 3, CANVAS, CANVAS), torch.zeros(1, CANVAS, CANVAS, dtype=torch.bool)
    levels = [model.extract_maps(images, text, padding).levels for text in (one, other)]
    assert all(not torch.allclose(a, b, atol=1e-5) for a, b in zip(*levels))


def test_an_image_is_looked_at_once_for_several_expressions():
    model = tiny_model(**parts('resnet'))
    data = model.data_preprocessor(batch_of(ITEMS))
    looked = model.look(data['inputs'][:1]).of(torch.tensor([0, 0]))
    apart = model.answer(looked, copy.deepcopy(data['data_samples']))
    for one, other in zip(apart, model.predict(data['inputs'], data['data_samples'])):
        torch.testing.assert_close(one.pred_instances.bboxes, other.pred_instances.bboxes, rtol=1e-4, atol=1e-3)


def test_a_file_of_weights_answers_and_shows_its_gates(tmp_path):
    cfg = nano_config()
    gates = {key: value for key, value in cfg.model.backbone.items() if key.startswith(('gate_', 'text_'))}
    body = dict(
        type='mmdet.ResNet', depth=18, base_channels=24, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1),
        out_indices=(0, 1, 2), init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'),
    )  # fmt: skip
    cfg.model.backbone = dict(type='QueryModulated', body=body, **gates)
    inferencer = UniQRNetInferencer(
        weights=nano_checkpoint(tmp_path / 'nano.safetensors', cfg), device='cpu', show_progress=False
    )
    picture, expressions = scene()
    found = inferencer([picture], [expressions[:2]], return_gates=True)['predictions']
    assert [len(answer['box']) for answer in found] == [4, 4]
    backbone = [name for name in found[0]['gates'] if name.startswith('backbone')]
    assert backbone == ['backbone.gates.0', 'backbone.gates.1', 'backbone.gates.2']
    for name in backbone:
        assert found[0]['gates'][name].shape == picture.shape[:2]
        assert (found[0]['gates'][name] != found[1]['gates'][name]).any()


def test_learning_rates_of_layers_and_of_what_was_loaded(tmp_path):
    """A part's key is what its parameters' names have after ``backbone.``; new gates learn at the full rate."""
    torch.save(ResNet(18, base_channels=CHANNELS[0]).state_dict(), tmp_path / 'resnet.pth')
    body = dict(RESNET, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'resnet.pth')))
    keys = {
        'backbone': dict(lr_mult=0.1),
        'backbone.body.layer1': dict(lr_mult=0.01),
        'backbone.gates': dict(lr_mult=0.1),
    }
    model = dict(
        type='UniQRNet',
        data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=CANVAS),
        text_encoder=text_encoder_config(),
        **parts('resnet', body=body),
    )
    run = Runner(
        model=model,
        work_dir=str(tmp_path),
        train_dataloader=DataLoader(ITEMS, batch_size=2, collate_fn=pseudo_collate),
        train_cfg=dict(by_epoch=False, max_iters=1),
        optim_wrapper=dict(
            constructor='LoadedLrOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1.0e-3),
            paramwise_cfg=dict(custom_keys=keys),
        ),
        default_scope='mmuniqrnet',
        custom_hooks=[dict(type='CheckLoadHook'), dict(type='LoadedLrHook')],
        experiment_name=uuid.uuid4().hex,
    )
    run.train()
    rate = {id(p): group['lr'] for group in run.optim_wrapper.param_groups for p in group['params']}
    found = {
        prefix: {round(rate[id(p)], 9) for name, p in run.model.backbone.named_parameters() if name.startswith(prefix)}
        for prefix in ('body.conv1', 'body.layer1', 'body.layer2', 'gates')
    }
    assert found == {'body.conv1': {1e-4}, 'body.layer1': {1e-5}, 'body.layer2': {1e-4}, 'gates': {1e-3}}

"""This package's backbone and neck in mmdet and mmseg, and their necks, heads and losses in UniQRNet."""

import importlib

import pytest
import torch
from helpers.composition_samples import (
    SENTENCES,
    detector_batch,
    glip,
    grounding_dino,
    mask2former,
    mask_rcnn,
    neck,
    parameters_without_gradient,
    segmentor,
    segmentor_batch,
)
from helpers.head_samples import BOTH, NO_BOX, NO_MASK
from helpers.needs import needs_ops
from helpers.paths import NANO_CONFIG
from helpers.tiny_model import CHANNELS, DIM, batch_of, encoder_config, head_config, open_gates, tiny_model
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

pytestmark = pytest.mark.filterwarnings('ignore:position encoding of key', 'ignore:torch.meshgrid', 'ignore:Default ``')


def build(cfg: dict, scope: str, opened: bool = True) -> torch.nn.Module:
    init_default_scope(scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    if hasattr(model, 'level_embed'):
        # mmdet's DETRs leave it as the memory was, NaN at times, until `init_weights`, which closes the gates.
        torch.nn.init.normal_(model.level_embed)
    return open_gates(model) if opened else model


DETECTORS = {
    'Mask R-CNN': mask_rcnn,
    'Mask R-CNN, QueryAwareFusion': lambda: dict(mask_rcnn(), neck=neck(gated=False)),
    'Mask2Former': mask2former,
}


@pytest.mark.parametrize('name', [pytest.param(n, marks=needs_ops if 'R-CNN' in n else ()) for n in DETECTORS])
def test_detectors_without_text(name):
    model = build(DETECTORS[name](), 'mmdet')
    assert parameters_without_gradient(model, detector_batch()) == []
    for sample in model.eval().val_step(detector_batch()):
        assert len(sample.pred_instances) == len(sample.pred_instances.masks) > 0


WITH_TEXT = {
    'Grounding DINO': grounding_dino,
    'Grounding DINO, QueryAwareFusion': lambda: dict(
        grounding_dino(), neck=neck(in_channels=CHANNELS[1:], out_channels=256, num_outs=4)
    ),
    'GLIP': glip,
}


def with_text(name: str, tmp_path) -> torch.nn.Module:
    cfg = glip(tmp_path) if name == 'GLIP' else WITH_TEXT[name]()
    return build(cfg, 'mmdet')


@pytest.mark.parametrize('name', [pytest.param(n, marks=needs_ops if n == 'GLIP' else ()) for n in WITH_TEXT])
def test_detectors_with_text_whose_backbone_reads_it(name, tmp_path):
    model = with_text(name, tmp_path)
    # GLIP reads names in training, Grounding DINO sentences with the spans of the objects.
    batch = detector_batch(custom_entities=True) if name == 'GLIP' else detector_batch(tokens_positive={0: [[4, 14]]})
    assert parameters_without_gradient(model, batch) == []
    for gate in (*model.backbone.gates, *getattr(model.neck, 'gates', ())):
        assert any(value.grad.any() for value in gate.parameters())

    seen = []
    model.eval().backbone.register_forward_hook(lambda module, args, maps: seen.append((args, maps)))
    answers = model.val_step(detector_batch(tokens_positive=-1 if 'DINO' in name else [[[4, 14]]]))
    (images, sentence), maps = seen[0]
    assert torch.equal(images[0], images[1])
    assert torch.equal(sentence, model.language_model.text_encoder(SENTENCES).sentence)
    assert not any(torch.allclose(stage[0], stage[1], atol=1e-3) for stage in maps)
    assert all(len(answer.pred_instances) > 0 for answer in answers)
    assert model._sentence is None


SEGMENTORS = {
    'UPerHead': segmentor,
    'QueryAwareFusion, FPNHead': lambda: dict(
        segmentor(type='FPNHead', in_channels=[16] * 4, in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32]),
        neck=neck(gated=False),
    ),
}


@pytest.mark.parametrize('name', SEGMENTORS)
def test_segmentors_without_text(name):
    model = build(SEGMENTORS[name](), 'mmseg')
    assert parameters_without_gradient(model, segmentor_batch()) == []
    for sample in model.eval().val_step(segmentor_batch()):
        assert sample.seg_logits.data.shape == (3, 64, 64)


GN = dict(type='GN', num_groups=4)
NECKS = {
    'FPN': dict(num_outs=5),
    'PAFPN': dict(num_outs=5),
    'ChannelMapper': dict(num_outs=5, norm_cfg=GN),
}


@pytest.mark.parametrize('name', NECKS)
def test_necks_of_mmdet(name):
    cfg = dict(type=f'mmdet.{name}', in_channels=list(CHANNELS), out_channels=DIM, **NECKS[name])
    init_default_scope('mmuniqrnet')
    # All five levels are read: an extra level of ChannelMapper has weights, which would get no gradient.
    model = tiny_model(neck=cfg, head=head_config(encoder=encoder_config(levels=(2, 3, 4))))
    assert parameters_without_gradient(model, batch_of([BOTH, NO_BOX, NO_MASK])) == []
    for sample in model.eval().val_step(batch_of([BOTH])):
        assert sample.pred_instances.masks.shape == (1, 48, 64)


@pytest.mark.parametrize('asked', ['mmengine', 'mmdet', 'mmseg'])
@pytest.mark.parametrize('scope', ['mmdet', 'mmseg', 'mmuniqrnet'])
def test_it_is_built_by_any_registry_in_any_scope(asked, scope):
    """The names of its own parts have no prefix, as in our configs."""
    init_default_scope(scope)
    registry = importlib.import_module(f'{asked}.registry').MODELS
    model = registry.build(Config.fromfile(NANO_CONFIG).model | dict(type='mmuniqrnet.UniQRNet'))
    assert type(model).__module__ == 'mmuniqrnet.models.uniqrnet' and type(model.backbone).__name__ == 'QRNetSwin'


def test_a_name_of_the_default_scope_is_found_inside_a_part_that_has_a_prefix():
    init_default_scope('mmdet')
    loss = build(
        head_config(type='mmuniqrnet.UniQRNetHead', loss_box_l1=dict(type='SmoothL1Loss')), 'mmdet'
    ).loss_box_l1
    assert type(loss).__name__ == 'SmoothL1Loss'

"""The values that a model starts from: init_weights() of the neck, of UniQRNet and of a detector around the neck."""

import logging
from pathlib import Path

import pytest
import torch
from helpers.checkpoint_samples import detector_state, published_checkpoint, random_laterals, small_uniqrnet
from helpers.config_samples import TINY_BERT
from helpers.paths import ROOT
from helpers.tiny_model import CHANNELS, DIM, backbone_config, head_config, neck_config, text_encoder_config
from mmdet.models.necks import FPN
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from mmuniqrnet.models import QRNetSwin, UniQRNet
from mmuniqrnet.registry import MODELS

pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')

FULL_CHANNELS = {'t': (96, 192, 384, 768), 'b': (128, 256, 512, 1024)}


def assert_xavier(neck: nn.Module, channels: tuple[int, ...], width: int) -> None:
    """Glorot and Bengio's uniform values: in +-sqrt(6 / (in + out)), whose standard deviation is sqrt(2 / (in + out)).

    The limit tells it from a normal distribution, which goes beyond; the standard deviation from Kaiming's.
    """
    assert len(neck.lateral_convs) == len(channels)
    for conv, c in zip(neck.lateral_convs, channels):
        weight = conv.conv.weight
        assert weight.shape == (width, c, 1, 1)
        assert weight.std().item() == pytest.approx((2 / (c + width)) ** 0.5, rel=5 / (2 * weight.numel()) ** 0.5)
        assert 0.97 < weight.abs().max().item() / (6 / (c + width)) ** 0.5 <= 1
        assert not conv.conv.bias.any()


@pytest.mark.parametrize('channels', FULL_CHANNELS.values(), ids=FULL_CHANNELS)
def test_laterals_of_the_neck_alone(channels):
    torch.manual_seed(0)
    neck = MODELS.build(dict(type='QueryAwareFusion', in_channels=channels))
    neck.init_weights()
    assert_xavier(neck, channels, 256)


def test_init_cfg_of_the_neck_has_an_effect():
    torch.manual_seed(0)
    neck = MODELS.build(dict(type='QueryAwareFusion', init_cfg=dict(type='Normal', layer='Conv2d', std=0.5)))
    neck.init_weights()
    assert all(conv.conv.weight.std().item() == pytest.approx(0.5, rel=0.05) for conv in neck.lateral_convs)


@pytest.mark.parametrize('size', FULL_CHANNELS)
def test_laterals_of_a_whole_config(size):
    """At the flagship's channels; only what has nothing to do with the neck is made small."""
    cfg = Config.fromfile(ROOT / 'configs' / f'uniqrnet_swin-{size}_refcoco.py').model
    cfg.text_encoder.update(model=dict(TINY_BERT, hidden_size=768), tokenizer='mmuniqrnet:refshapes')
    cfg.backbone.update(depths=(1, 1, 1, 1), init_cfg=None)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    assert_xavier(model.neck, FULL_CHANNELS[size], 256)


def test_laterals_inside_a_detector_of_mmdet():
    cfg = Config.fromfile(ROOT / 'configs' / 'pretrain' / 'mask-rcnn_qrnet-swin-t_coco.py').model
    cfg.backbone.update(depths=(1, 1, 1, 1), init_cfg=None)
    cfg.neck = dict(type='mmuniqrnet.QueryAwareFusion', in_channels=FULL_CHANNELS['t'], num_outs=5)
    torch.manual_seed(0)
    model = MMDET_MODELS.build(cfg)
    model.init_weights()
    assert_xavier(model.neck, FULL_CHANNELS['t'], 256)


def uniqrnet(checkpoint: Path, neck: dict | None = None, **changes) -> UniQRNet:
    """The tiny model, initialised with the backbone from this file."""
    torch.manual_seed(0)
    init_cfg = dict(type='Pretrained', checkpoint=str(checkpoint))
    model = MODELS.build(
        dict(
            type='UniQRNet',
            text_encoder=text_encoder_config(),
            backbone=backbone_config(init_cfg=init_cfg),
            neck=neck or neck_config(),
            head=head_config(),
        )
        | changes
    )
    model.init_weights()
    return model


def tiny_swin(seed: int = 3) -> QRNetSwin:
    torch.manual_seed(seed)
    swin = MODELS.build(backbone_config())
    swin.init_weights()
    return swin


def laterals_of(model: UniQRNet) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.neck.state_dict().items() if name.startswith('lateral_convs.')}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def messages(caplog):
    logger = MMLogger.get_instance('test_init_weights')
    logger.addHandler(caplog.handler)
    yield lambda: [(r.levelno, r.getMessage()) for r in caplog.records if 'lateral convolutions' in r.getMessage()]
    logger.removeHandler(caplog.handler)


@pytest.mark.parametrize('original', [False, True], ids=['mmdet', 'original detection code'])
def test_a_detector_brings_its_laterals(original, tmp_path, messages):
    # The names are those of mmdet's own FPN.
    fpn = FPN(list(CHANNELS), DIM, num_outs=5)
    wanted = random_laterals(CHANNELS, DIM)
    assert set(wanted) == {name for name in fpn.state_dict() if name.startswith('lateral_convs.')}
    swin = tiny_swin()
    torch.save(dict(state_dict=detector_state(swin, wanted, original), meta=dict(epoch=36)), tmp_path / 'rcnn.pth')
    model = uniqrnet(tmp_path / 'rcnn.pth')
    assert same(laterals_of(model), wanted)
    assert torch.equal(model.backbone.norm3.weight, swin.norm3.weight)
    [(level, text)] = messages()
    assert level == logging.INFO and 'QueryAwareFusion: 8 tensors of lateral convolutions from' in text
    # Nothing of the file stays in memory.
    assert model.backbone.detector_laterals == {}


def test_a_published_qrnet_brings_its_laterals(tmp_path):
    source = small_uniqrnet()
    torch.save(published_checkpoint(source), tmp_path / 'qrnet.pth')
    torch.manual_seed(7)
    target = small_uniqrnet()
    target.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'qrnet.pth'))
    target.init_weights()
    assert same(laterals_of(target), laterals_of(source))
    assert same(target.backbone.state_dict(), source.backbone.state_dict())


def test_the_file_is_read_once(tmp_path, monkeypatch):
    torch.save(dict(state_dict=detector_state(tiny_swin(), random_laterals(CHANNELS, DIM))), tmp_path / 'rcnn.pth')
    opened = []
    load = torch.load
    monkeypatch.setattr(torch, 'load', lambda path, **options: opened.append(path) or load(path, **options))
    uniqrnet(tmp_path / 'rcnn.pth')
    assert opened == [tmp_path / 'rcnn.pth']


@pytest.mark.parametrize(
    'laterals, problem',
    [
        (random_laterals(CHANNELS, 2 * DIM), r'lateral_convs.0.conv.weight is [32, 8, 1, 1] in the file and [16, 8, 1'),
        (random_laterals(CHANNELS[1:], DIM), r'lateral_convs.0.conv.weight is [16, 16, 1, 1] in the file and [16, 8'),
        (random_laterals(CHANNELS, DIM) | {'lateral_convs.0.bn.weight': torch.ones(DIM)}, 'is not in the model'),
    ],
    ids=['wider', 'other levels', 'with a norm'],
)
def test_laterals_that_do_not_fit_are_left_out_and_named(laterals, problem, tmp_path, messages):
    torch.save(dict(state_dict=detector_state(tiny_swin(), laterals)), tmp_path / 'rcnn.pth')
    model = uniqrnet(tmp_path / 'rcnn.pth')
    assert_xavier_bounds(model)
    [(level, text)] = messages()
    assert level == logging.WARNING and 'do not fit and are left out' in text and problem in text


def assert_xavier_bounds(model: UniQRNet) -> None:
    for conv, c in zip(model.neck.lateral_convs, CHANNELS):
        assert conv.conv.weight.abs().max().item() <= (6 / (c + DIM)) ** 0.5 and not conv.conv.bias.any()


def test_a_classifier_has_no_laterals(tmp_path, messages):
    swin = {name: value for name, value in tiny_swin().state_dict().items() if not name.startswith(('gates.', 'norm'))}
    torch.save(dict(model=swin), tmp_path / 'swin.pth')
    assert_xavier_bounds(uniqrnet(tmp_path / 'swin.pth'))
    assert messages() == []


def test_a_checkpoint_of_the_whole_model_comes_after_the_detector(tmp_path):
    torch.save(dict(state_dict=detector_state(tiny_swin(), random_laterals(CHANNELS, DIM))), tmp_path / 'rcnn.pth')
    whole = uniqrnet(tmp_path / 'rcnn.pth')
    other = random_laterals(CHANNELS, DIM, seed=9)
    whole.neck.load_state_dict(other, strict=False)
    torch.save(dict(state_dict=whole.state_dict()), tmp_path / 'whole.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'whole.pth'))
    assert same(laterals_of(uniqrnet(tmp_path / 'rcnn.pth', init_cfg=init_cfg)), other)


def test_a_model_without_neck_takes_the_backbone_of_a_detector(tmp_path):
    """And the head's levels are the stages, all of one width here."""
    torch.save(dict(state_dict=detector_state(tiny_swin(), random_laterals(CHANNELS, DIM))), tmp_path / 'rcnn.pth')
    torch.manual_seed(0)
    swin = MODELS.build(backbone_config(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'rcnn.pth'))))
    model = UniQRNet(text_encoder=text_encoder_config(), backbone=swin, head=head_config())
    model.init_weights()
    assert torch.equal(model.backbone.norm3.weight, tiny_swin().norm3.weight)

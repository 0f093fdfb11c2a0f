"""Agreement with numbers that the published QRNet modules produced, loaded through the converter."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmuniqrnet.checkpoints import qrnet
from mmuniqrnet.checkpoints.fit import judge
from mmuniqrnet.models import BoxBranch, QRNetSwin, QueryAwareFusion, UniQRNet, UniQRNetHead, VisualLinguisticEncoder
from mmuniqrnet.structures import TextFeatures


def build(config: dict) -> UniQRNet:
    """The model of a golden file's sizes."""
    gates = dict(channel_gate=config.get('ch', True), spatial_gate=config.get('sp', True))
    channels = [config['embed'] * 2**i for i in range(len(config['depths']))]
    height, width = (config['size'],) * 2 if isinstance(config['size'], int) else config['size']
    return UniQRNet(
        text_encoder=nn.Identity(),  # its output is an input of the file
        backbone=QRNetSwin(
            text_dim=config['mu'],
            embed_dims=config['embed'],
            depths=config['depths'],
            num_heads=config['heads'],
            window_size=config['win'],
            **gates,
        ),
        neck=QueryAwareFusion(channels, config['neck'], config['mu'], **gates),
        head=UniQRNetHead(
            encoder=VisualLinguisticEncoder(
                config['neck'],
                config['mu'],
                config['hid'],
                num_layers=config['layers'],
                num_heads=config['nh'],
                feedforward_dims=config['ff'],
                num_text_tokens=config['L'],
                level_sizes=[(-(-height // stride), -(-width // stride)) for stride in (32, 64)],
            ),
            box_branch=BoxBranch(config['hid']),
        ),
    )


@pytest.fixture(scope='module')
def golden(golden_file: Path) -> SimpleNamespace:
    """The file, the model with its weights, and what the model makes of its inputs."""
    data = torch.load(golden_file, map_location='cpu', weights_only=True)
    model = build(data['config']).eval()
    state, left_out, unexpected = qrnet.to_ours(data['state_dict'])
    assert not left_out and not unexpected
    fit = judge(state, model.state_dict(), new=())
    assert not fit.missing and not fit.mismatched
    # A gate that the config switches off has no place in the model, whether or not the file has its weights.
    off = {'.channel.': data['config'].get('ch', True), '.spatial.': data['config'].get('sp', True)}
    assert not [name for name in fit.unexpected if not any(gate in name and not on for gate, on in off.items())]
    model.load_state_dict({name: state[name] for name in fit.matched}, strict=False)

    text = TextFeatures(data['text_features'], data['text_features'][:, 0], data['text_padding_mask'])
    features = model.extract_maps(data['image'], text, data['image_padding_mask'])
    joint = model.head.encoder(features.levels, text, data['image_padding_mask'])
    boxes = model.head.box_branch(joint.reg)
    loss = (boxes - data['target_cxcywh']).abs().sum() / len(boxes)
    loss.backward()
    return SimpleNamespace(data=data, model=model, features=features, joint=joint, boxes=boxes, loss=loss)


def assert_agrees(ours: torch.Tensor, published: torch.Tensor) -> None:
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.detach(), published, rtol=0, atol=1e-4)


def test_golden_backbone_outputs(golden: SimpleNamespace) -> None:
    assert len(golden.features.stages) == len(golden.data['stage_outputs'])
    for ours, published in zip(golden.features.stages, golden.data['stage_outputs']):
        assert_agrees(ours, published)


def test_golden_neck_outputs(golden: SimpleNamespace) -> None:
    assert len(golden.features.levels) == len(golden.data['neck_outputs'])
    for ours, published in zip(golden.features.levels, golden.data['neck_outputs']):
        assert_agrees(ours, published)


def test_golden_encoder_output(golden: SimpleNamespace) -> None:
    joint = golden.joint
    visual = [x.flatten(2).transpose(1, 2) for x in joint.maps]
    sequence = torch.cat([joint.reg[:, None], joint.text, *visual], dim=1)
    assert_agrees(sequence.transpose(0, 1), golden.data['encoder_output'])


def test_golden_boxes_and_loss(golden: SimpleNamespace) -> None:
    assert_agrees(golden.boxes, golden.data['boxes_cxcywh'])
    torch.testing.assert_close(golden.loss.item(), float(golden.data['loss_l1']), rtol=0, atol=1e-4)


def test_golden_box_loss_of_the_head_is_the_published_one(golden: SimpleNamespace) -> None:
    targets = SimpleNamespace(boxes=golden.data['target_cxcywh'], has_box=torch.ones(len(golden.boxes)))
    losses = golden.model.head.box_losses(golden.boxes.detach(), targets)
    torch.testing.assert_close(losses['loss_box_l1'].item(), float(golden.data['loss_l1']), rtol=0, atol=1e-4)


def test_golden_gradient_norms(golden: SimpleNamespace) -> None:
    """Within 0.1 %, and the published loss reaches the same parameters as ours."""
    ours = {name: parameter.grad for name, parameter in golden.model.named_parameters()}
    ours = {name: 0.0 if grad is None else grad.norm().item() for name, grad in ours.items()}
    published = {qrnet.QRNET.forward(name): float(norm or 0) for name, norm in golden.data['grad_norms'].items()}
    assert {name for name, norm in published.items() if norm} <= set(ours) <= set(published)
    # The floor is for gradients that are zero but for rounding.
    wrong = {
        name: (ours[name], norm)
        for name, norm in published.items()
        if name in ours and abs(ours[name] - norm) > 1e-3 * norm + 1e-9
    }
    assert not wrong


def test_golden_weights_go_back_to_the_bit(golden: SimpleNamespace) -> None:
    published = golden.data['state_dict']
    back = qrnet.to_published(qrnet.to_ours(published).state)
    assert not back.left_out and not back.unexpected
    assert set(back.state) == set(published)
    for name, value in published.items():
        assert back.state[name].dtype == value.dtype
        assert torch.equal(back.state[name], value), name

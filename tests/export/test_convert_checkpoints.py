import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch
from helpers.checkpoint_samples import SWIN, published_checkpoint, resnet_state, small_uniqrnet, unused_weights

from mmuniqrnet.checkpoints.file_io import CheckpointError, read_checkpoint
from mmuniqrnet.checkpoints.swin import SWIN as SWIN_NAMES
from mmuniqrnet.checkpoints.swin import to_original_order
from mmuniqrnet.export.convert_checkpoints import convert_qrnet, convert_swin, convert_to_qrnet
from mmuniqrnet.models import QRNetSwin

TOOLS = Path(__file__).parents[2] / 'tools' / 'model_converters'


def run(monkeypatch, script: str, *args: object) -> None:
    """Run a script as the shell would, in this process."""
    monkeypatch.setattr(sys, 'argv', [script, *map(str, args)])
    spec = importlib.util.spec_from_file_location('__main__', TOOLS / script)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def same(left: dict, right: dict) -> bool:
    return set(left) == set(right) and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


@pytest.fixture
def published(tmp_path) -> Path:
    path = tmp_path / 'qrnet.pth'
    torch.save(published_checkpoint(small_uniqrnet()), path)
    return path


def original_swin(**changes) -> dict[str, torch.Tensor]:
    model = QRNetSwin(channel_gate=False, spatial_gate=False, **SWIN | changes)
    return {SWIN_NAMES.backward(name): to_original_order(name, value) for name, value in model.state_dict().items()}


@pytest.mark.parametrize('gates', [{}, dict(channel_gate=False), dict(spatial_gate=False)])
def test_a_published_file_becomes_ours_and_goes_back_to_the_bit(tmp_path, gates):
    model = small_uniqrnet(**gates)
    checkpoint = published_checkpoint(model)
    torch.save(checkpoint, tmp_path / 'qrnet.pth')
    fit = convert_qrnet(tmp_path / 'qrnet.pth', tmp_path / 'ours.pth')
    assert not fit.missing and not fit.mismatched and not fit.unexpected
    assert set(fit.left_out) == set(unused_weights())
    assert {name.split('.')[1] for name in fit.new} == {'mask_branch', 'score_branch', 'pixel_guidance'}
    ours = read_checkpoint(tmp_path / 'ours.pth')
    assert same(ours['state_dict'], model.state_dict())

    convert_to_qrnet(tmp_path / 'ours.pth', tmp_path / 'back.pth')
    assert same(read_checkpoint(tmp_path / 'back.pth')['model'], checkpoint['model'])


def test_the_way_back_leaves_the_mask_branch_out(tmp_path):
    model = small_uniqrnet(box_only=False)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'ours.pth')
    fit = convert_to_qrnet(tmp_path / 'ours.pth', tmp_path / 'qrnet.pth')
    assert fit.left_out and all(name.startswith('head.mask_branch.') for name in fit.left_out)
    convert_qrnet(tmp_path / 'qrnet.pth', tmp_path / 'again.pth')
    again = read_checkpoint(tmp_path / 'again.pth')['state_dict']
    assert same(again, {name: value for name, value in model.state_dict().items() if name not in fit.left_out})


def test_a_model_that_is_no_qrnet_does_not_go_back(tmp_path):
    state = small_uniqrnet().state_dict() | {'head.encoder.norm.weight': torch.ones(8)}
    torch.save(dict(state_dict=state), tmp_path / 'ours.pth')
    with pytest.raises(CheckpointError, match='no counterpart for 1 of its tensors, such as head.encoder.norm.weight'):
        convert_to_qrnet(tmp_path / 'ours.pth', tmp_path / 'qrnet.pth')


@pytest.mark.parametrize(
    'change',
    [
        'backbone.gate_limit=4.0',
        "backbone.gate_output='after_norm'",
        'neck.gate_limit=4.0',
        'head.box_from_mask=True',
        'head.encoder.levels=(2, 3)',
        "text_encoder.sentence='mean'",
    ],
)
def test_options_that_no_tensor_shows_do_not_go_back(change, tmp_path):
    option, _, value = change.partition('=')
    *parts, name = option.split('.')
    state = small_uniqrnet().state_dict()
    for given in (f'{name}={value}', 'num_heads=4'):
        model = given
        for part in reversed(parts):
            model = f'{part}=dict({model})'
        torch.save(dict(state_dict=state, meta=dict(cfg=f'model = dict({model})')), tmp_path / 'ours.pth')
        if name in given:
            with pytest.raises(
                CheckpointError, match=re.escape(f'its config has model.{change}, which QRNet does not')
            ):
                convert_to_qrnet(tmp_path / 'ours.pth', tmp_path / 'qrnet.pth')
            assert not (tmp_path / 'qrnet.pth').exists()
        else:
            convert_to_qrnet(tmp_path / 'ours.pth', tmp_path / 'qrnet.pth')


@pytest.mark.parametrize('lost, written', [(0.03, True), (0.08, False)])
def test_under_95_percent_of_the_backbone_nothing_is_written(tmp_path, lost, written):
    checkpoint = published_checkpoint(small_uniqrnet())
    parts = ('.norm1.', '.norm2.', '.attn.proj.')
    lose = [name for name in checkpoint['model'] if any(part in name for part in parts)]
    total = sum(name.startswith('visumodel.backbone.') for name in checkpoint['model'])
    for name in lose[: round(lost * total)]:
        del checkpoint['model'][name]
    torch.save(checkpoint, tmp_path / 'qrnet.pth')
    if written:
        fit = convert_qrnet(tmp_path / 'qrnet.pth', tmp_path / 'ours.pth')
        assert len(fit.missing) == round(lost * total)
    else:
        with pytest.raises(
            CheckpointError, match=r'tensors of backbone matched, 95% must match; .* is not in the file'
        ):
            convert_qrnet(tmp_path / 'qrnet.pth', tmp_path / 'ours.pth')
    assert (tmp_path / 'ours.pth').exists() == written


@pytest.mark.parametrize(
    'state, message',
    [
        (resnet_state(), r'not a published QRNet file.*conv1\.weight'),
        (original_swin(), 'not a published QRNet file'),
        ({'visumodel.backbone.conv1.weight': torch.ones(1)}, 'no blocks of stage 0, 1, 2, 3'),
    ],
)
def test_other_files_are_no_qrnet(tmp_path, state, message):
    torch.save(dict(model=state), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=message):
        convert_qrnet(tmp_path / 'x.pth', tmp_path / 'ours.pth')
    assert not (tmp_path / 'ours.pth').exists()


def test_the_script_reports_and_writes(published, tmp_path, monkeypatch, capsys):
    checkpoint = torch.load(published, weights_only=False)
    checkpoint['model']['visumodel.backbone.extra.weight'] = torch.ones(1)
    torch.save(checkpoint, published)
    run(monkeypatch, 'qrnet_to_mmuniqrnet.py', published, tmp_path / 'ours.pth')
    report = capsys.readouterr().out
    model = small_uniqrnet()
    everything, backbone = len(model.state_dict()), len(model.backbone.state_dict())
    assert f'matched: {everything} of {everything} tensors (backbone {backbone} of {backbone}, ' in report
    assert 'head.mask_branch.*' in report.split('new by design')[1].split('missing')[0]
    assert 'unexpected: 1\n  visumodel.backbone.extra.weight' in report
    assert 'left out: 3' in report and 'visumodel.rpn_head.* (1)' in report
    assert (tmp_path / 'ours.pth').is_file()


def test_the_scripts_refuse_in_one_line(published, tmp_path, monkeypatch):
    torch.save(resnet_state(), tmp_path / 'resnet.pth')
    for script in ('qrnet_to_mmuniqrnet.py', 'swin_to_mmuniqrnet.py', 'mmuniqrnet_to_qrnet.py'):
        with pytest.raises(SystemExit, match=r'^error: .*resnet\.pth'):
            run(monkeypatch, script, tmp_path / 'resnet.pth', tmp_path / 'out.pth')
        assert not (tmp_path / 'out.pth').exists()
    with pytest.raises(SystemExit, match='exists already'):
        run(monkeypatch, 'qrnet_to_mmuniqrnet.py', published, published)
    run(monkeypatch, 'qrnet_to_mmuniqrnet.py', published, published, '--overwrite')
    assert 'state_dict' in read_checkpoint(published)


def test_a_classifier_becomes_a_backbone(tmp_path):
    state = {name: value for name, value in original_swin().items() if not name.startswith('norm')}
    end = {'norm.weight': torch.ones(128), 'norm.bias': torch.ones(128), 'head.weight': torch.ones(9, 128)}
    torch.save(dict(model=state | end), tmp_path / 'swin.pth')
    fit = convert_swin(tmp_path / 'swin.pth', tmp_path / 'ours.pth')
    assert not fit.missing and not fit.unexpected and set(fit.left_out) == set(end)
    assert {name.split('.')[1] for name in fit.new} == {'gates', 'norm0', 'norm1', 'norm2', 'norm3'}
    ours = read_checkpoint(tmp_path / 'ours.pth')['state_dict']
    assert len(ours) == len(state) and all(name.startswith('backbone.') for name in ours)


def test_a_detector_becomes_a_backbone_and_windows_grow(tmp_path):
    state = {f'backbone.{name}': value for name, value in original_swin(window_size=7).items()}
    torch.save(dict(state_dict=state | {'neck.fpn.weight': torch.ones(1)}, meta={}), tmp_path / 'maskrcnn.pth')
    fit = convert_swin(tmp_path / 'maskrcnn.pth', tmp_path / 'ours.pth', window_size=12)
    assert fit.left_out == ['neck.fpn.weight'] and not fit.missing and not fit.unexpected
    ours = read_checkpoint(tmp_path / 'ours.pth')['state_dict']
    model = QRNetSwin(channel_gate=False, spatial_gate=False, **SWIN | dict(window_size=12))
    model.load_state_dict({name.removeprefix('backbone.'): value for name, value in ours.items()}, strict=True)


def test_a_swin_with_holes_is_not_written(tmp_path):
    for part in ('.mlp.fc1.', '.attn.relative_position_bias_table', '.norm1.'):
        torch.save(
            dict(model={name: value for name, value in original_swin().items() if part not in name}),
            tmp_path / 'swin.pth',
        )
        with pytest.raises(CheckpointError, match='95% must|incomplete'):
            convert_swin(tmp_path / 'swin.pth', tmp_path / 'ours.pth')
    assert not (tmp_path / 'ours.pth').exists()


def test_what_is_missing_besides_the_backbone_is_named_and_written(tmp_path):
    state = published_checkpoint(small_uniqrnet())['model']
    lost = ('visumodel.backbone.patch_embed.proj.weight', 'textmodel.bert.embeddings.position_embeddings.weight')
    state = {
        name: value
        for name, value in state.items()
        if name not in lost and not name.startswith(('bbox_embed', 'text_proj'))
    }
    torch.save(dict(model=state), tmp_path / 'a.pth')
    fit = convert_qrnet(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert {name for name in fit.missing if not name.startswith('head.box_branch.')} == {
        'backbone.patch_embed.projection.weight',
        'text_encoder.model.embeddings.position_embeddings.weight',
        'head.encoder.text_proj.weight',
        'head.encoder.text_proj.bias',
    }
    assert len(fit.missing) == 10 and not fit.mismatched

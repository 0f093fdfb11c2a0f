import logging

import pytest
import torch
from helpers.checkpoint_samples import SWIN, TEXT_DIM, published_checkpoint, resnet_state, small_uniqrnet
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from safetensors.torch import save_file

from mmuniqrnet.checkpoints.file_io import CheckpointError
from mmuniqrnet.checkpoints.fit import compare_state_dicts
from mmuniqrnet.checkpoints.loading import check_fit
from mmuniqrnet.checkpoints.swin import SWIN as NAMES
from mmuniqrnet.checkpoints.swin import resize_table, to_original_order
from mmuniqrnet.models import QRNetSwin, QueryAwareFusion


def weights(**changes) -> dict[str, torch.Tensor]:
    """A Swin without gates, in mmdet's layout, that no initialisation would give."""
    model = QRNetSwin(channel_gate=False, spatial_gate=False, **SWIN | changes)
    return {
        name: torch.rand_like(value) + 1 if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }


def original(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {NAMES.backward(name): to_original_order(name, value) for name, value in state.items()}


def initialised(path, **changes) -> QRNetSwin:
    settings = dict(text_dim=TEXT_DIM, init_cfg=dict(type='Pretrained', checkpoint=str(path))) | SWIN | changes
    model = QRNetSwin(**settings)
    model.init_weights()
    return model


def assert_loaded(model: QRNetSwin, state: dict[str, torch.Tensor]) -> None:
    ours = model.state_dict()
    assert {name for name in ours if not name.startswith('gates.')} == set(state)
    assert all(torch.equal(ours[name], value) for name, value in state.items())


@pytest.mark.parametrize('layout', ['plain', 'prefixed', 'detector', 'original', 'original detector', 'safetensors'])
def test_init_cfg_reads_each_layout(tmp_path, layout):
    state = weights()
    path = tmp_path / ('swin.safetensors' if layout == 'safetensors' else 'swin.pth')
    if layout == 'safetensors':
        save_file(state, path)
    else:
        theirs = original(state) if 'original' in layout else state
        if layout != 'plain' and layout != 'original':
            theirs = {f'backbone.{name}': value for name, value in theirs.items()}
        if 'detector' in layout:
            theirs |= {'neck.lateral_convs.0.conv.weight': torch.ones(1), 'roi_head.x': torch.ones(1)}
        torch.save(dict(state_dict=theirs, meta=dict(epoch=1)), path)
    assert_loaded(initialised(path), state)


def test_init_cfg_says_what_is_new(tmp_path, caplog):
    torch.save(weights(), tmp_path / 'swin.pth')
    logger = MMLogger.get_instance('test_loading')
    logger.addHandler(caplog.handler)
    model = initialised(tmp_path / 'swin.pth')
    logger.removeHandler(caplog.handler)
    [record] = [record for record in caplog.records if 'swin.pth' in record.getMessage()]
    gates = len(model.gates.state_dict())
    assert record.levelno == logging.WARNING and f'new by design: {gates}\n' in record.getMessage()
    # The gates start as in a backbone that is trained from scratch.
    for gate in model.gates:
        assert not gate.spatial.score.V.any() and gate.spatial.score.decoder.weight.std() < 0.03


def test_convert_weights_insists_on_the_original_layout(tmp_path):
    state = weights()
    torch.save(original(state), tmp_path / 'original.pth')
    torch.save(state, tmp_path / 'mmdet.pth')
    assert_loaded(initialised(tmp_path / 'original.pth', convert_weights=True), state)
    with pytest.raises(CheckpointError, match="in mmdet's layout, not in original's"):
        initialised(tmp_path / 'mmdet.pth', convert_weights=True)


def test_windows_change_from_7_to_12(tmp_path):
    state = weights(window_size=7)
    torch.save(dict(model=original(state)), tmp_path / 'swin.pth')
    model = initialised(tmp_path / 'swin.pth', window_size=12)
    fresh = QRNetSwin(text_dim=TEXT_DIM, **SWIN | dict(window_size=12)).state_dict()
    for name, value in model.state_dict().items():
        if name.endswith('relative_position_index'):
            assert torch.equal(value, fresh[name])
        elif name.endswith('relative_position_bias_table'):
            assert torch.equal(value, resize_table(state[name], 23))
        elif not name.startswith('gates.'):
            assert torch.equal(value, state[name])
    model.eval()
    assert all(out.isfinite().all() for out in model(torch.randn(1, 3, 64, 64)))


def test_a_published_file_brings_the_gates_too(tmp_path):
    source = small_uniqrnet()
    torch.save(published_checkpoint(source), tmp_path / 'qrnet.pth')
    ours, theirs = initialised(tmp_path / 'qrnet.pth').state_dict(), source.backbone.state_dict()
    assert set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_gates_of_a_published_file_are_not_taken_for_normalised_ones(tmp_path):
    torch.save(published_checkpoint(small_uniqrnet()), tmp_path / 'qrnet.pth')
    with pytest.raises(CheckpointError, match=r'set model\.backbone\.gate_norm=False .*, and gate_limit=None'):
        initialised(tmp_path / 'qrnet.pth', gate_norm=True)


@pytest.mark.parametrize(
    'state, message',
    [
        (resnet_state(), r'no weights of Swin.*conv1\.weight'),
        (weights(embed_dims=8), r'patch_embed\.projection\.weight is \[8, 3, 4, 4\] in the file and \[16, 3, 4, 4\]'),
        (weights(depths=(1, 2, 6, 1)), r'stages\.2\.blocks\.2\.\S+ is not in the model'),
        (weights(depths=(1, 1, 1, 1)), r'stages\.1\.blocks\.1\.\S+ is not in the file'),
        ({name: value for name, value in weights().items() if '.ffn.' not in name}, 'is not in the file'),
    ],
    ids=['resnet', 'narrower', 'deeper', 'shallower', 'holes'],
)
def test_init_cfg_fails_loudly(tmp_path, state, message):
    torch.save(dict(state_dict=state), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=rf'init_cfg of QRNetSwin, .*x\.pth: .*{message}'):
        initialised(tmp_path / 'x.pth')


def test_one_wrong_shape_is_enough_for_a_backbone(tmp_path):
    torch.save(weights() | {'patch_embed.projection.weight': torch.ones(16, 4, 4, 4)}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'patch_embed\.projection\.weight is \[16, 4, 4, 4\] in the file'):
        initialised(tmp_path / 'x.pth')


def test_init_cfg_of_another_kind_is_refused(tmp_path):
    for init_cfg in (
        dict(type='Xavier', layer='Linear'),
        dict(type='Pretrained', checkpoint='x.pth', prefix='backbone.'),
    ):
        with pytest.raises(ValueError, match='init_cfg is None or'):
            QRNetSwin(text_dim=TEXT_DIM, init_cfg=init_cfg, **SWIN).init_weights()


def test_mmengines_pretrained_is_loud_in_our_scope(tmp_path):
    neck = QueryAwareFusion((8, 16), 16, TEXT_DIM, num_outs=2)
    wanted = {name: torch.rand_like(value) for name, value in neck.state_dict().items() if 'lateral' in name}
    torch.save(dict(state_dict={f'neck.{name}': value for name, value in wanted.items()}), tmp_path / 'fpn.pth')
    torch.save(dict(state_dict={'neck.fpn.weight': torch.ones(1)}), tmp_path / 'other.pth')
    with DefaultScope.overwrite_default_scope('mmuniqrnet'):
        for name, fits in (('fpn.pth', True), ('other.pth', False)):
            init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / name), prefix='neck.')
            neck = QueryAwareFusion((8, 16), 16, TEXT_DIM, num_outs=2, init_cfg=init_cfg)
            if fits:
                neck.init_weights()
                assert all(torch.equal(neck.state_dict()[key], value) for key, value in wanted.items())
            else:
                with pytest.raises(CheckpointError, match=r'other\.pth: it does not fit: 0 of 5 tensors'):
                    neck.init_weights()


def test_judging_counts_every_tensor_once():
    model = {
        'a.x': torch.ones(2),
        'a.y': torch.ones(3),
        'new.z': torch.ones(1),
        'half.u': torch.ones(1),
        'half.v': torch.ones(1),
        'm.relative_position_index': torch.ones(1),
    }
    state = {
        'a.x': torch.zeros(2),
        'a.y': torch.zeros(4),
        'half.u': torch.ones(1),
        'b.w': torch.ones(1),
        'old.w': torch.ones(1),
    }
    fit = compare_state_dicts(state, model, new=('new.', 'half.', 'old.'))
    assert (fit.matched, fit.new, fit.missing) == (['a.x', 'half.u'], ['new.z'], ['half.v'])
    assert [str(m) for m in fit.mismatched] == ['a.y is [4] in the file and [3] in the model']
    assert (fit.unexpected, fit.left_out) == (['b.w'], ['old.w'])
    assert fit.counts() == (2, 5) and fit.counts('a.') == (1, 2)


def test_a_whole_model_is_judged_part_by_part():
    model = small_uniqrnet(box_only=False).state_dict()
    box_only = small_uniqrnet().state_dict()
    fit = check_fit(box_only, model)
    assert {name.split('.')[1] for name in fit.new} == {'mask_branch'} and not fit.missing
    assert check_fit(model, box_only).left_out == fit.new

    no_text = {name: value for name, value in box_only.items() if not name.startswith('text_encoder.')}
    with pytest.raises(CheckpointError, match=r'0 of \d+ tensors of text_encoder match'):
        check_fit(no_text, model)
    assert any(name.startswith('text_encoder.') for name in check_fit(no_text, model, required=('backbone',)).new)


def test_one_wrong_shape_is_enough():
    longer = small_uniqrnet(num_text_tokens=9).state_dict()
    with pytest.raises(CheckpointError, match=r'position\.weight is \[12, 8\] in the file and \[15, 8\]'):
        check_fit(small_uniqrnet().state_dict(), longer)
    assert not check_fit(small_uniqrnet().state_dict(), longer, allow=['head.encoder.position.']).mismatched

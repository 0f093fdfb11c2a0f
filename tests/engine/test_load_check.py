"""load_from and resume through mmengine's own Runner."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from torch import nn

from mmuniqrnet.checkpoints import CheckpointError
from mmuniqrnet.checkpoints.carried_config import changed_options
from mmuniqrnet.checkpoints.qrnet import to_published
from mmuniqrnet.engine.hooks.load_check import CheckLoadHook
from mmuniqrnet.export.convert_checkpoints import convert_qrnet

TEXT_DIM = 12


def config(box_only: bool = False, gates: dict | None = None, **swin) -> dict:
    sizes = dict(embed_dims=16, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4), window_size=4) | swin
    bert = dict(
        model_type='bert',
        hidden_size=TEXT_DIM,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
    )
    mask = None if box_only else dict(type='MaskBranch', embed_dims=8, in_channels=32, feat_channels=8, norm_cfg=None)
    encoder = dict(
        type='VisualLinguisticEncoder',
        in_channels=32,
        text_dim=TEXT_DIM,
        embed_dims=8,
        num_layers=1,
        num_heads=2,
        feedforward_dims=8,
        num_text_tokens=6,
        level_sizes=((2, 2), (1, 1)),
    )
    return dict(
        type='UniQRNet',
        text_encoder=dict(type='TextEncoder', model=bert, tokenizer='mmuniqrnet:refshapes', max_length=6),
        backbone=dict(type='QRNetSwin', text_dim=TEXT_DIM, **sizes, **gates or {}),
        neck=dict(
            type='QueryAwareFusion',
            in_channels=[sizes['embed_dims'] * 2**i for i in range(4)],
            out_channels=32,
            text_dim=TEXT_DIM,
            **gates or {},
        ),
        head=dict(
            type='UniQRNetHead', encoder=encoder, box_branch=dict(type='BoxBranch', embed_dims=8), mask_branch=mask
        ),
    )


def runner(
    folder: Path, load_from: Path | None = None, resume: bool = False, hook: dict | None = None, **model
) -> Runner:
    return Runner(
        model=ConfigDict(config(**model)),
        work_dir=str(folder / 'run'),
        load_from=None if load_from is None else str(load_from),
        resume=resume,
        custom_hooks=[dict(type='CheckLoadHook', **hook or {})],
        default_scope='mmuniqrnet',
        experiment_name=f'{folder.name}_{torch.randint(10**9, ()).item()}',
    )


def weights(folder: Path, **model) -> dict[str, torch.Tensor]:
    module = runner(folder, **model).model
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_a_converted_qrnet_is_loaded_and_the_mask_branch_is_named(tmp_path):
    state = weights(tmp_path, box_only=True)
    torch.save(dict(model=to_published(state).state), tmp_path / 'qrnet.pth')
    convert_qrnet(tmp_path / 'qrnet.pth', tmp_path / 'ours.pth')
    loaded = runner(tmp_path, tmp_path / 'ours.pth')
    loaded.load_or_resume()
    ours = loaded.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in state.items())
    log = next(Path(loaded.log_dir).glob('*.log')).read_text()
    assert 'new by design' in log and 'head.mask_branch.*' in log


@pytest.mark.parametrize(
    'kind, message',
    [
        ('unconverted', 'published QRNet file: convert it with tools/model_converters/qrnet_to_mmuniqrnet.py'),
        ('resnet', r'0 of \d+ tensors of backbone match'),
        ('wider', r'backbone\.patch_embed\.projection\.weight is \[24, 3, 4, 4\] in the file and \[16, 3, 4, 4\]'),
        ('deeper', r'backbone\.stages\.2\.blocks\.2\.\S+ is not in the model'),
        ('backbone', r'0 of \d+ tensors of text_encoder match.*It is only a Swin: load it by the backbone.s init_cfg='),
        ('misplaced', "under 'model', which mmengine does not read"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_loaded(tmp_path, kind, message):
    sizes = dict(wider=dict(embed_dims=24), deeper=dict(depths=(1, 1, 6, 1))).get(kind, {})
    state = weights(tmp_path, box_only=True, **sizes)
    checkpoint = dict(state_dict=state)
    if kind == 'unconverted':
        checkpoint = dict(model=to_published(state).state, epoch=1)
    elif kind == 'resnet':
        checkpoint = {'conv1.weight': torch.ones(8, 3, 7, 7), 'layer1.0.conv1.weight': torch.ones(8, 8, 1, 1)}
    elif kind == 'backbone':
        swin = ('backbone.stages.', 'backbone.norm', 'backbone.patch_embed.')
        checkpoint = dict(state_dict={name: value for name, value in state.items() if name.startswith(swin)})
    elif kind == 'misplaced':
        checkpoint = dict(model=state)
    path = tmp_path / 'x.pth'
    torch.save(checkpoint, path)
    loading = runner(tmp_path, path)
    before = {name: value.clone() for name, value in loading.model.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf'load_from, .*x\.pth: the checkpoint does not fit .*{message}'):
        loading.load_or_resume()
    assert all(torch.equal(value, before[name]) for name, value in loading.model.state_dict().items())


@pytest.mark.parametrize(
    'in_file, in_model, option',
    [
        (
            {},
            dict(gate_norm=True, gate_limit=4.0),
            r'without gate_norm: set model\.backbone\.gate_norm=False .*, and gate_limit=None',
        ),
        (dict(gate_norm=True), {}, r'with gate_norm: set model\.backbone\.gate_norm=True '),
    ],
)
def test_gates_of_another_kind_are_refused_though_their_tensors_fit(tmp_path, in_file, in_model, option):
    path = tmp_path / 'x.pth'
    torch.save(dict(state_dict=weights(tmp_path, gates=in_file)), path)
    with pytest.raises(CheckpointError, match=rf'backbone\.gates\.0\.channel are of a gate {option}'):
        runner(tmp_path, path, gates=in_model).load_or_resume()
    runner(tmp_path, path, gates=in_file).load_or_resume()


def test_a_file_without_gates_is_loaded_into_a_model_with_normalised_ones(tmp_path):
    path = tmp_path / 'x.pth'
    state = weights(tmp_path)
    torch.save(dict(state_dict={name: value for name, value in state.items() if '.gates.' not in name}), path)
    loading = runner(tmp_path, path, gates=dict(gate_norm=True, gate_limit=4.0))
    loading.load_or_resume()
    loaded = loading.model.state_dict()
    assert torch.equal(loaded['backbone.norm0.weight'], state['backbone.norm0.weight'])
    assert not loaded['backbone.gates.0.channel.excite.V'].any()


def test_what_the_hook_is_told_to_allow_is_let_through(tmp_path):
    state = weights(tmp_path)
    path = tmp_path / 'x.pth'
    torch.save(dict(state_dict={name: value for name, value in state.items() if 'text_encoder' not in name}), path)
    runner(tmp_path, path, hook=dict(required=['backbone'])).load_or_resume()
    state['head.encoder.position.weight'] = torch.ones(3, 8)
    torch.save(dict(state_dict=state), path)
    with pytest.raises(CheckpointError, match='position'):
        runner(tmp_path, path).load_or_resume()
    runner(tmp_path, path, hook=dict(allow=['head.encoder.position.'])).load_or_resume()


def test_a_run_that_resumes_must_find_every_part(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(dict(state_dict=weights(tmp_path, box_only=True)), path)
    with pytest.raises(CheckpointError, match=r'resume, .*: 0 of \d+ tensors of head\.mask_branch match'):
        runner(tmp_path, path, resume=True).load_or_resume()


def test_averaged_weights_are_not_taken_for_those_of_the_optimizer(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(dict(state_dict=weights(tmp_path), ema_state_dict={}, meta={}, message_hub={}, optimizer={}), path)
    with pytest.raises(CheckpointError, match='averaged weights, which can not be resumed without EMAHook'):
        runner(tmp_path, path, resume=True).load_or_resume()
    runner(tmp_path, path).load_or_resume()


def test_a_share_is_a_fraction():
    with pytest.raises(ValueError, match='share is a fraction'):
        CheckLoadHook(share=95)


@pytest.mark.parametrize('now, named', [('after_norm', True), ('before_norm', False)])
def test_options_that_no_tensor_shows_are_named(tmp_path, now, named):
    trained = config(gates=dict(gate_norm=True, gate_limit=4.0))
    model = config(gates=dict(gate_norm=True, gate_limit=4.0))
    model['backbone']['gate_output'] = now
    state = weights(tmp_path, gates=dict(gate_norm=True, gate_limit=4.0))
    path = tmp_path / 'trained.pth'
    torch.save(dict(state_dict=state, meta=dict(cfg=Config(dict(model=trained)).pretty_text)), path)
    loading = Runner(
        model=ConfigDict(model),
        work_dir=str(tmp_path / 'run'),
        load_from=str(path),
        custom_hooks=[dict(type='CheckLoadHook')],
        default_scope='mmuniqrnet',
        experiment_name=f'hidden_{now}',
        cfg=dict(model=model),
    )
    loading.load_or_resume()
    (log,) = Path(loading.log_dir).glob('*.log')
    said = "trained with backbone.gate_output='before_norm' (now 'after_norm')"
    assert (said in log.read_text()) == named


@pytest.mark.parametrize(
    'option, trained, now',
    [
        ('text_encoder.sentence', 'mean', 'cls'),
        ('head.encoder.num_heads', 4, 2),
        ('head.encoder.levels', (2, 3), (3, 4)),
    ],
)
def test_other_options_of_text_encoder_and_encoder_are_named(option, trained, now):
    cfg = Config(dict(model=config()))
    cfg.merge_from_dict({f'model.{option}': trained})
    checkpoint = dict(meta=dict(cfg=cfg.pretty_text))
    assert changed_options(checkpoint, config(), 'x.pth') == [f'{option}={trained!r} (now {now!r})']
    assert changed_options(checkpoint, cfg.model, 'x.pth') == []

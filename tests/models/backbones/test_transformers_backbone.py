import pytest
import torch
from helpers.modulated_samples import IMAGES, SENTENCES, assert_close, differing, modulated
from transformers import (
    AutoConfig,
    ConvNextForImageClassification,
    Dinov2ForImageClassification,
    Dinov2Model,
    SwinForImageClassification,
    SwinModel,
)

from mmuniqrnet.checkpoints.recording import LoadRecorder
from mmuniqrnet.models import TransformersBackbone
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

WIDTHS = dict(hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1])
VIT = dict(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32)
SWIN = dict(model_type='swin', embed_dim=8, depths=[1, 2, 1, 1], num_heads=[1, 1, 2, 2], window_size=4)
CONVNEXT = dict(model_type='convnext', **WIDTHS)
DINOV2 = dict(model_type='dinov2', **VIT, mlp_ratio=2, image_size=56, patch_size=14)
del DINOV2['intermediate_size']
BETWEEN = dict(
    swin=SWIN,
    swinv2=dict(SWIN, model_type='swinv2'),
    convnext=CONVNEXT,
    convnextv2=dict(CONVNEXT, model_type='convnextv2'),
    resnet=dict(model_type='resnet', embedding_size=8, layer_type='basic', **WIDTHS),
    rt_detr_resnet=dict(model_type='rt_detr_resnet', embedding_size=8, layer_type='basic', **WIDTHS),
    dinov2=DINOV2,
    dinov2_registers=dict(DINOV2, model_type='dinov2_with_registers'),
    dinov3=dict(model_type='dinov3_vit', **VIT),
    dinov3_convnext=dict(model_type='dinov3_convnext', **WIDTHS),
)
ON_OUTPUTS = dict(
    pvt=dict(model_type='pvt_v2', num_attention_heads=[1, 1, 1, 2], **WIDTHS),
    bit=dict(model_type='bit', embedding_size=8, num_groups=2, **WIDTHS),
)
KINDS = BETWEEN | ON_OUTPUTS


pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')


def known(name: str) -> dict:
    """Its configuration, unless this version of transformers does not have the model."""
    try:
        AutoConfig.for_model(KINDS[name]['model_type'])
    except ValueError:
        pytest.skip(f'this transformers has no {KINDS[name]["model_type"]}')
    return KINDS[name]


def body(model: dict | str, **options) -> dict:
    return dict(type='TransformersBackbone', model=model, **options)


@pytest.mark.parametrize('name', KINDS)
def test_a_backbone_is_itself_without_a_sentence_and_gated_with_one(name):
    model = modulated(body(known(name)))
    assert model.gates_between == (name in BETWEEN)
    with torch.no_grad():
        plain = model(IMAGES)
        assert_close(plain, model.body.model(model.body.pad(IMAGES)).feature_maps)
        one, other = model(IMAGES, SENTENCES[0]), model(IMAGES, SENTENCES[1])
    assert len(plain) == 4
    assert differing(one, other) == differing(one, plain) == [0, 1, 2, 3]
    model = modulated(body(known(name)), gated_stages=(0,))
    with torch.no_grad():
        assert differing(model(IMAGES, SENTENCES[0]), plain) == ([0, 1, 2, 3] if name in BETWEEN else [0])


@pytest.mark.parametrize('name, chosen', [(name, ('stage1', 'stage3')) for name in KINDS] + [('swin', None)])
def test_every_parameter_that_is_trained_has_a_gradient(name, chosen):
    """For which DDP would wait: those of later stages and of unused norms and mask tokens are not trained."""
    model = modulated(body(known(name), out_features=chosen)).train()
    sentence = SENTENCES[0].clone().requires_grad_()
    sum(x.square().mean() for x in model(IMAGES, sentence)).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(p.requires_grad for p in model.gates.parameters())
    assert sentence.grad.any(dim=1).all()


@pytest.mark.parametrize('name', ['swin', 'convnext', 'dinov2', 'dinov3', 'pvt'])
def test_expressions_share_what_does_not_depend_on_the_text(name):
    model = modulated(body(known(name)))
    image_of, sentences = torch.tensor([1, 0, 1]), SENTENCES[:, 0]
    assert_close(model(IMAGES, sentences, image_of), model(IMAGES[image_of], sentences))


def test_patches_at_the_edges_are_completed():
    """With patches of 14 pixels, 64 x 96 pixels are 5 x 7 patches; transformers leaves the last pixels out."""
    backbone = MODELS.build(body(DINOV2)).eval()
    assert [tuple(x.shape[-2:]) for x in backbone(IMAGES)] == [(5, 7)] * 4
    changed = IMAGES.clone()
    changed[..., -1, -1] += 10
    assert differing(backbone(changed), backbone(IMAGES)) == [0, 1, 2, 3]


def test_class_token_passes_the_gates():
    """With every gate closed, only what was not gated is left: with no class token, nothing would be."""
    model = modulated(body(DINOV2, out_features=('stage2', 'stage4')))
    for gate in model.gates:
        gate.spatial.register_forward_hook(lambda _module, _inputs, output: output * 0)
    tokens = model.before_text(IMAGES).tokens
    closed = model.gates[0](tokens.values, SENTENCES[0])
    assert not closed.any()
    following, _, _ = model.seam.following(model.body, 0, tokens._replace(values=closed))
    assert following.shape[1] == 1 + 5 * 7 and following[:, 0].any() and not following[:, 1:].any()


@pytest.mark.parametrize(
    'kind, config',
    [
        (SwinForImageClassification, SWIN),
        (SwinModel, SWIN),
        (ConvNextForImageClassification, CONVNEXT),
        (Dinov2Model, DINOV2),
        (Dinov2ForImageClassification, DINOV2),
    ],
)
def test_weights_of_a_folder_are_loaded(kind, config, tmp_path):
    torch.manual_seed(5)
    settings = {key: value for key, value in config.items() if key != 'model_type'}
    saved = kind(kind.config_class(**settings)).eval()
    saved.save_pretrained(tmp_path)
    backbone = MODELS.build(body(str(tmp_path)))
    assert backbone.training and backbone.model.training
    backbone.init_weights()  # must not touch what was loaded
    theirs = {
        name.partition('.')[2] if hasattr(saved, 'classifier') else name: p for name, p in saved.named_parameters()
    }
    ours = {name.removeprefix('swin.'): p for name, p in backbone.model.named_parameters()}
    shared = ours.keys() & theirs.keys()
    assert len(shared) >= len(theirs) - 4
    assert all(torch.equal(ours[name], theirs[name]) for name in shared)
    new = {name for name, _ in backbone.named_parameters()} - backbone.loaded_at_build
    assert all(name.startswith('model.hidden_states_norms.') for name in new)
    recorder = LoadRecorder(modulated(backbone))
    assert recorder.has_loaded(next(iter(ours.values())))


def test_weights_of_a_file_are_loaded_and_settings_replace_stored_ones(tmp_path):
    saved = SwinModel(SwinModel.config_class(**{k: v for k, v in SWIN.items() if k != 'model_type'}))
    saved.save_pretrained(tmp_path)
    (file,) = tmp_path.glob('*.safetensors')
    from_file = MODELS.build(body(SWIN, checkpoint=str(file))).eval()
    from_folder = MODELS.build(body(str(tmp_path), settings=dict(drop_path_rate=0.5))).eval()
    assert from_file.loaded_at_build == from_folder.loaded_at_build
    assert_close(from_file(IMAGES), from_folder(IMAGES))
    assert from_folder.model.config.drop_path_rate == 0.5 != from_file.model.config.drop_path_rate


@pytest.mark.parametrize('name', ['swin', 'convnext', 'dinov2'])
def test_frozen_stages_stay_frozen(name):
    model = modulated(body(KINDS[name], frozen_stages=1, out_features=('stage1', 'stage2', 'stage4')))
    for _ in range(2):
        frozen = [module for part in model.body.frozen_parts() for module in part.modules()]
        assert frozen and not any(module.training for module in frozen)
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        assert not {name for name in trained if 'embeddings' in name}
        assert {name for name, _ in model.gates.named_parameters('gates')} <= trained
        inner = ('layers.0.', 'stages.0.', 'layer.0.')
        assert not [n for n in trained if any(f'encoder.{part}' in n for part in inner)]
        assert [n for n in trained if any(f'encoder.{part}'.replace('0', '1') in n for part in inner)]
        model.train()


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(model='/nowhere/at/all'), "'/nowhere/at/all' was not loaded.*Give a folder"),
        (dict(model=dict(hidden_size=8)), 'needs a model_type'),
        (dict(model=dict(model_type='swinn')), "knows no model_type 'swinn'"),
        (dict(model=dict(SWIN, embed_dims=8)), 'has no embed_dims; did you mean embed_dim?'),
        (dict(model=dict(model_type='bert')), "no backbone for model_type 'bert'"),
        (dict(model=dict(model_type='dinov2')), r"out_features=\('stage3', 'stage6', 'stage9', 'stage12'\)"),
        (dict(model=SWIN, out_features=('stage2', 'stage1')), 'stages stage1 to stage4 of swin, in this order'),
        (dict(model=SWIN, out_features=('stem', 'stage1')), 'stages stage1 to stage4 of swin, in this order'),
        (dict(model=SWIN, settings=dict(depths=[1])), 'settings are for a model given by name'),
        (dict(model=SWIN, frozen_stages=5), 'frozen_stages=5 is more than the 4 stages of SwinBackbone'),
        (dict(model=KINDS['pvt'], frozen_stages=1), 'the stages of PvtV2Backbone are not known.*lr_mult=0'),
        (dict(model='name', checkpoint='file'), 'checkpoint is for a model given as dict'),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(options, message):
    with pytest.raises(UserError, match=message):
        TransformersBackbone(**options)


def test_weights_of_another_network_are_refused(tmp_path):
    saved = SwinModel(SwinModel.config_class(**{k: v for k, v in SWIN.items() if k != 'model_type'}))
    saved.save_pretrained(tmp_path)
    (file,) = tmp_path.glob('*.safetensors')
    with pytest.raises(UserError, match=r'does not fit ConvNextBackbone: .* is not in it, nor are \d+ others'):
        TransformersBackbone(CONVNEXT, checkpoint=str(file))
    with pytest.raises(UserError, match='does not fit'):
        TransformersBackbone(dict(SWIN, embed_dim=16), checkpoint=str(file))

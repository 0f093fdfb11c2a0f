"""Needs the extra ``timm``; the environment of ``make`` does not have it."""

import pytest
import torch
from helpers.modulated_samples import IMAGES, SENTENCES, assert_close, differing, modulated

from mmuniqrnet.checkpoints.recording import LoadRecorder
from mmuniqrnet.models import TimmBackbone
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

timm = pytest.importorskip('timm', reason='needs the extra timm', exc_type=ImportError)
pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')

SWIN = dict(embed_dim=16, depths=(1, 2, 1, 1), num_heads=(1, 1, 2, 2))
BETWEEN = dict(
    resnet=dict(model='resnet10t', out_indices=(1, 2, 3, 4)),
    convnext=dict(model='convnext_atto', settings=dict(depths=(1, 1, 1, 1), dims=(8, 16, 32, 64))),
    swin=dict(model='swin_tiny_patch4_window7_224', settings=dict(SWIN, img_size=[64, 96])),
    regnet=dict(model='regnety_002', out_indices=(1, 2, 3, 4)),
)
ON_OUTPUTS = dict(
    vit=dict(
        model='vit_tiny_patch16_224',
        out_indices=(0, 1, 2, 3),
        settings=dict(img_size=[64, 96], embed_dim=16, num_heads=2, depth=4),
    ),
    mobilenet=dict(model='mobilenetv3_small_050', out_indices=(1, 2, 3, 4)),
)
KINDS = BETWEEN | ON_OUTPUTS


def body(name: str, **changes) -> dict:
    return dict(type='TimmBackbone', **(KINDS[name] | changes))


@pytest.mark.parametrize('name', KINDS)
def test_a_network_is_itself_without_a_sentence_and_gated_with_one(name):
    model = modulated(body(name))
    assert model.gates_between == (name in BETWEEN)
    with torch.no_grad():
        plain = model(IMAGES)
        expected = model.body.model(IMAGES)
        assert_close(plain, [x.permute(0, 3, 1, 2) for x in expected] if name == 'swin' else expected)
        one, other = model(IMAGES, SENTENCES[0]), model(IMAGES, SENTENCES[1])
    assert list(model.channels) == [x.shape[1] for x in plain] == model.body.model.feature_info.channels()
    assert differing(one, other) == differing(one, plain) == [0, 1, 2, 3]
    model = modulated(body(name), gated_stages=(0,))
    with torch.no_grad():
        assert differing(model(IMAGES, SENTENCES[0]), plain) == ([0, 1, 2, 3] if name in BETWEEN else [0])


@pytest.mark.parametrize('name', KINDS)
@pytest.mark.parametrize('with_cp', [False, True])
def test_every_parameter_that_is_trained_has_a_gradient(name, with_cp):
    model = modulated(body(name, out_indices=(0, 2)), with_cp=with_cp).train()
    sentence = SENTENCES[0].clone().requires_grad_()
    sum(x.square().mean() for x in model(IMAGES, sentence)).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert sentence.grad.any(dim=1).all()


@pytest.mark.parametrize('name', ['resnet', 'convnext', 'swin'])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors', ''])
def test_weights_of_a_file_or_folder_are_loaded(name, suffix, tmp_path):
    torch.manual_seed(5)
    options = KINDS[name]
    whole = timm.create_model(options['model'], num_classes=10, **options.get('settings', {})).eval()
    if suffix:
        file = tmp_path / f'weights{suffix}'
        if suffix == '.pth':
            torch.save(whole.state_dict(), file)
        else:
            from safetensors.torch import save_file

            save_file(whole.state_dict(), file)
        backbone = MODELS.build(body(name, checkpoint=str(file)))
    else:
        timm.models.save_for_hf(whole, tmp_path)
        backbone = MODELS.build(body(name, model=f'local-dir:{tmp_path}'))
    backbone.init_weights()  # must not touch what was loaded
    assert backbone.loaded_at_build == {name for name, _ in backbone.named_parameters()}
    theirs = {name.replace('.', '_', 1): p for name, p in whole.named_parameters()}
    theirs |= dict(whole.named_parameters())
    for key, value in backbone.model.named_parameters():
        assert torch.equal(value, theirs[key]), key
    assert LoadRecorder(modulated(backbone)).has_loaded(next(backbone.parameters()))
    assert 'state_dict' not in backbone.model.pretrained_cfg


def test_loading_does_not_move_the_random_numbers(tmp_path):
    file = tmp_path / 'weights.pth'
    torch.save(timm.create_model('resnet10t').state_dict(), file)
    torch.manual_seed(0)
    MODELS.build(body('resnet', checkpoint=str(file)))
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


@pytest.mark.parametrize('name', ['resnet', 'swin'])
def test_frozen_stages_stay_frozen(name):
    model = modulated(body(name, frozen_stages=1))
    for _ in range(2):
        frozen = [module for part in model.body.frozen_parts() for module in part.modules()]
        assert frozen and not any(module.training for module in frozen)
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        first, second = ('layer1', 'layer2') if name == 'resnet' else ('layers_0', 'layers_1')
        assert not [n for n in trained if n.startswith(f'body.model.{first}')]
        assert [n for n in trained if n.startswith(f'body.model.{second}')]
        model.train()


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(model='resnet10x'), "'resnet10x' was not built: Unknown model .*did you mean resnet10t"),
        (dict(model='resnet10t', settings=dict(width=3)), "unexpected keyword argument 'width'"),
        (dict(model='local-dir:/nowhere'), r"'local-dir:/nowhere' was not loaded.*checkpoint=FILE.*local-dir:FOLDER"),
        (dict(model='resnet10t', pretrained=True, checkpoint='x.pth'), 'not from both'),
        (dict(model='mobilenetv3_small_050', frozen_stages=1), 'are not known, so frozen_stages=1 is not possible'),
        (dict(model='resnet10t', frozen_stages=6), 'is more than the 5 stages'),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(options, message):
    with pytest.raises(UserError, match=message):
        TimmBackbone(**options)


def test_weights_of_another_network_are_refused(tmp_path):
    file = tmp_path / 'weights.pth'
    state = timm.create_model('resnet10t').state_dict()
    torch.save(state, file)
    for other in ('convnext_atto', 'resnet18'):
        with pytest.raises(UserError, match=f"does not fit '{other}'"):
            TimmBackbone(other, checkpoint=str(file))
    torch.save({name: value for name, value in state.items() if not name.startswith('layer4')}, file)
    with pytest.raises(UserError, match=r'does not fit: layer4.0.conv1.weight was not loaded from it, nor were \d oth'):
        TimmBackbone('resnet10t', checkpoint=str(file))

import copy

import pytest
import torch
from helpers.modulated_samples import IMAGES, SENTENCES, assert_close, differing, modulated
from helpers.tiny_model import CHANNELS, backbone_config, open_gates
from mmdet.models.backbones import ResNet
from torch import nn

from mmuniqrnet.models.backbones.seams import OutputSeam, Seam, Tokens
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

RESNET = dict(type='mmdet.ResNet', depth=18, base_channels=8)
SWIN = dict(
    type='mmdet.SwinTransformer',
    embed_dims=CHANNELS[0],
    depths=(2, 1, 2, 1),
    num_heads=(2, 2, 4, 4),
    window_size=4,
    drop_path_rate=0.0,
)
# The branches of HRNet are fused, so no stage feeds the next one alone.
HRNET = dict(
    type='mmdet.HRNet',
    extra={
        f'stage{i}': dict(
            num_modules=1,
            num_branches=i,
            block='BOTTLENECK' if i == 1 else 'BASIC',
            num_blocks=(1,) * i,
            num_channels=(8, 16, 32, 64)[:i],
        )
        for i in (1, 2, 3, 4)
    },
)
# One for each class that a seam is for, and those that change a part of it.
BODIES = dict(
    resnet=RESNET,
    resnet_v1d=dict(type='mmdet.ResNetV1d', depth=50, base_channels=8, out_indices=(1, 2, 3)),
    resnext=dict(type='mmdet.ResNeXt', depth=50, base_channels=8, groups=4, base_width=4),
    regnet=dict(type='mmdet.RegNet', arch='regnetx_400mf'),
    csp=dict(type='mmdet.CSPDarknet', widen_factor=0.125, deepen_factor=0.33),
    cspnext=dict(type='mmdet.CSPNeXt', widen_factor=0.125, deepen_factor=0.33, norm_cfg=dict(type='BN')),
    mobilenet=dict(type='mmdet.MobileNetV2', widen_factor=0.25),
    efficientnet=dict(type='mmdet.EfficientNet', arch='b0', out_indices=(3, 4, 5)),
    swin=SWIN,
    pvt=dict(type='mmdet.PyramidVisionTransformer', embed_dims=8, num_layers=[1, 1, 1, 1]),
    pvt_v2=dict(type='mmdet.PyramidVisionTransformerV2', embed_dims=8, num_layers=[1, 1, 1, 1]),
    mit=dict(type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=[1, 1, 1, 1]),
    mscan=dict(type='mmseg.MSCAN', embed_dims=[8, 16, 32, 64], depths=[1, 1, 1, 1], norm_cfg=dict(type='BN')),
    twins=dict(
        type='mmseg.PCPVT',
        embed_dims=[8, 16, 32, 64],
        num_heads=[1, 2, 4, 8],
        patch_sizes=[4, 2, 2, 2],
        strides=[4, 2, 2, 2],
        mlp_ratios=[2, 2, 2, 2],
        depths=[1, 2, 1, 1],
        sr_ratios=[8, 4, 2, 1],
        out_indices=(0, 1, 2, 3),
    ),
    seg_swin=dict(SWIN, type='mmseg.SwinTransformer'),
    seg_resnet=dict(type='mmseg.ResNetV1c', depth=18, base_channels=8, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    seg_mobilenet=dict(type='mmseg.MobileNetV2', widen_factor=0.25, out_indices=(1, 2, 4, 6)),
)
ON_OUTPUTS = dict(
    hrnet=HRNET,
    vit=dict(type='mmseg.VisionTransformer', embed_dims=32, num_layers=4, num_heads=2, out_indices=(1, 3), img_size=64),
)


pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')


def small(name: str) -> dict:
    return (BODIES | ON_OUTPUTS)[name]


@pytest.mark.parametrize('name', [*BODIES, *ON_OUTPUTS])
def test_any_backbone_is_itself_without_a_sentence_and_gated_with_one(name):
    model = modulated(small(name))
    assert model.gates_between == (name in BODIES)
    with torch.no_grad():
        plain = model(IMAGES)
        assert_close(plain, model.body(IMAGES))
        one, other = model(IMAGES, SENTENCES[0]), model(IMAGES, SENTENCES[1])
    assert [x.shape for x in one] == [x.shape for x in plain]
    assert differing(one, other) == differing(one, plain) == list(range(len(plain)))
    assert [model.channels[i] for i in model.out_indices] == [x.shape[1] for x in plain]


@pytest.mark.parametrize('name', [*BODIES, *ON_OUTPUTS])
def test_a_gate_changes_its_stage_and_the_later_ones_where_it_acts_in_between(name):
    first = modulated(small(name)).out_indices[0]
    model = modulated(small(name), gated_stages=(first,))
    with torch.no_grad():
        changed = differing(model(IMAGES, SENTENCES[0]), model(IMAGES))
    assert changed == (list(range(len(model.out_indices))) if name in BODIES else [0])


@pytest.mark.parametrize('options', [{}, dict(gate_norm=True, gate_limit=4.0, gate_output='after_norm')])
def test_mmdets_swin_becomes_qrnets(options):
    torch.manual_seed(0)
    published = open_gates(MODELS.build(backbone_config(depths=SWIN['depths'], **options))).eval()
    model = modulated(SWIN, **options)
    state = {k if k.startswith('gates.') else f'body.{k}': v for k, v in published.state_dict().items()}
    model.load_state_dict(state, strict=True)
    images = torch.randn(2, 3, 50, 38)
    assert_close(model(images, SENTENCES[0]), published(images, SENTENCES[0]))
    assert_close(model(images), published(images))


def test_gates_start_as_qrnets_do():
    """In their distributions: V of the last layers zero, decoders as Swin's linear layers."""
    options = dict(gate_norm=True, gate_limit=4.0, gate_output='after_norm')
    published = MODELS.build(backbone_config(**options))
    model = modulated(SWIN, opened=False, **options)
    for part in (published, model):
        torch.manual_seed(0)
        part.init_weights()
    ours, theirs = model.gates.state_dict(), published.gates.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if value.numel() > 500 or not theirs[name].any():
            assert torch.isclose(value.std(), theirs[name].std(), rtol=0.1, atol=1e-6), name


def test_new_gates_halve_twice_as_published():
    """Each is 0.5: the map of the first stage is a quarter, and the next stage sees a quarter."""
    model = modulated(RESNET, opened=False)
    gated, plain = model(IMAGES, SENTENCES[0]), model(IMAGES)
    torch.testing.assert_close(gated[0], plain[0] / 4)
    torch.testing.assert_close(gated[1], model.body.layer2(plain[0] / 4) / 4)
    assert differing(gated, model(IMAGES, SENTENCES[1])) == []


def test_new_gates_after_the_norm_change_no_map_of_their_own_stage():
    model = modulated(RESNET, opened=False, gate_output='after_norm')
    gated, plain = model(IMAGES, SENTENCES[0]), model(IMAGES)
    torch.testing.assert_close(gated[0], plain[0])
    torch.testing.assert_close(gated[1], model.body.layer2(plain[0] / 4))


@pytest.mark.parametrize('name', ['resnet', 'swin', 'hrnet'])
def test_a_sample_is_answered_alike_alone_and_in_a_batch(name):
    model = modulated(small(name))
    together = model(IMAGES, SENTENCES[0])
    for i in range(2):
        alone = model(IMAGES[i : i + 1], SENTENCES[0, i : i + 1])
        assert_close(alone, [x[i : i + 1] for x in together])


@pytest.mark.parametrize('name, last', [('resnet', 3), ('swin', 3), ('pvt', 3), ('vit', 1)])
@pytest.mark.parametrize('first', [0, 1])
def test_images_are_looked_at_once_for_several_sentences(name, last, first):
    model = modulated(small(name), gated_stages=range(first, last + 1))
    image_of, sentences = torch.tensor([1, 0, 1]), SENTENCES[:, 0]
    assert_close(model(IMAGES, sentences, image_of), model(IMAGES[image_of], sentences))
    looked = model.before_text(IMAGES)
    for sentence in SENTENCES:
        assert_close(model.after_text(looked, sentence), model(IMAGES, sentence))
    rows = torch.tensor([1, 0, 1])
    assert_close(model(IMAGES, SENTENCES[0][rows], rows), model(IMAGES[rows], SENTENCES[0][rows]))


@pytest.mark.parametrize(
    'name, out_indices, gate_output',
    [(name, (0, 2), 'after_norm') for name in BODIES if name not in ('mscan', 'twins')]
    + [(name, None, 'before_norm') for name in ('resnet', 'swin', 'twins', 'mscan', 'hrnet')],
)
def test_gradients_reach_the_sentence_and_every_parameter(name, out_indices, gate_output):
    """No parameter is without a gradient, for which DDP would wait; stages that no map needs are not trained."""
    body = small(name) if out_indices is None else dict(small(name), out_indices=out_indices)
    model = modulated(body, gate_output=gate_output).train()
    sentence = SENTENCES[0].clone().requires_grad_()
    sum(x.square().mean() for x in model(IMAGES, sentence)).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert sentence.grad.any(dim=1).all()


@pytest.mark.parametrize(
    'name, frozen', [('resnet', ('conv1', 'bn1', 'layer1')), ('swin', ('patch_embed', 'stages.0'))]
)
def test_frozen_stages_stay_frozen_and_their_gates_are_trained(name, frozen):
    model = modulated(dict(small(name), frozen_stages=1))
    for _ in range(2):
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        assert not [name for name in trained if name.startswith(tuple(f'body.{part}.' for part in frozen))]
        assert {name for name, _ in model.named_parameters() if name.startswith(('gates.', 'body.layer2'))} <= trained
        assert model.train() is model
        assert not model.get_submodule(f'body.{frozen[-1]}').training


@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint:UserWarning')  # mmdet's own does not choose a kind
@pytest.mark.parametrize('name', ['resnet', 'swin', 'mit'])
@pytest.mark.parametrize('stages', [False, True])
def test_checkpointing_changes_neither_maps_nor_gradients(name, stages):
    results = []
    for with_cp in (False, True):
        model = modulated(dict(small(name), with_cp=with_cp and not stages), with_cp=with_cp and stages).train()
        sentence = SENTENCES[0].clone().requires_grad_()
        maps = model(IMAGES, sentence)
        sum(x.square().mean() for x in maps).backward()
        results.append([*maps, sentence.grad, *(p.grad for p in model.parameters())])
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_deep_copy_has_gates_of_its_own():
    model = modulated(RESNET)
    double = copy.deepcopy(model)
    assert differing(model(IMAGES, SENTENCES[0]), double(IMAGES, SENTENCES[0])) == []
    expected = model(IMAGES, SENTENCES[0])
    with torch.no_grad():
        for parameter in double.parameters():
            parameter.zero_()
    assert differing(model(IMAGES, SENTENCES[0]), expected) == []
    assert not any(x.any() for x in double(IMAGES, SENTENCES[0]))


def test_a_subclass_with_a_forward_of_its_own_is_gated_on_its_outputs():
    class Doubled(ResNet):
        def forward(self, x):
            return tuple(2 * y for y in super().forward(x))

    class Renamed(ResNet):
        pass

    assert isinstance(modulated(Doubled(18, base_channels=8)).seam, OutputSeam)
    assert isinstance(modulated(ResNet(18, base_channels=8), between=False).seam, OutputSeam)
    assert modulated(Renamed(18, base_channels=8)).gates_between


def test_a_backbone_of_ones_own_brings_its_seam():
    class Stages(nn.ModuleList):
        out_indices = (0, 1)

        def __init__(self):
            super().__init__([nn.Conv2d(3, 4, 4, stride=4), nn.Conv2d(4, 8, 2, stride=2)])

        def forward(self, images):
            first = self[0](images)
            return first, self[1](first)

    class StagesSeam(Seam):
        def num_stages(self, body):
            return len(body)

        def stem(self, body, images):
            return images

        def stage(self, body, i, x):
            return Tokens.of_map(body[i](x))

        def following(self, body, i, tokens):
            return tokens.map()

    body = Stages()
    assert not modulated(body).gates_between
    body.seam = StagesSeam()
    model = modulated(body, gated_stages=(0,))
    assert model.gates_between and model.channels == (4, 8)
    assert differing(model(IMAGES, SENTENCES[0]), body(IMAGES)) == [0, 1]
    body.seam.stem = lambda body, images: 2 * images
    with pytest.raises(UserError, match='run one by one, the stages of Stages do not give the maps of its own forward'):
        modulated(body)


def test_a_pyramid_is_applied_to_the_gated_maps():
    pyramid = dict(type='mmseg.Feature2Pyramid', embed_dim=32, norm_cfg=dict(type='BN'))  # strides 4 to 32
    model = modulated(dict(small('vit'), out_indices=(0, 1, 2, 3)), pyramid=pyramid)
    maps = model(IMAGES, SENTENCES[0])
    assert [tuple(x.shape[-2:]) for x in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert differing(maps, model(IMAGES, SENTENCES[1])) == [0, 1, 2, 3]


def test_a_backbone_is_not_changed_by_finding_out_its_channels():
    body = ResNet(18, base_channels=8, norm_eval=False)
    before = copy.deepcopy(body.state_dict())
    modulated(body)
    assert all(torch.equal(value, before[name]) for name, value in body.state_dict().items())


class OneMap(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 4, 1)


@pytest.mark.parametrize(
    'body, changes, message',
    [
        (dict(RESNET, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)), {}, 'ResNet has one stage'),
        (dict(small('vit'), out_indices=(3,)), {}, 'VisionTransformer has one stage or returns one map'),
        (OneMap(), {}, r'OneMap returns one tensor \[1, 4, 64, 64\]'),
        (dict(RESNET, out_indices=(1, 0)), {}, 'must name some of its 4 stages, 0 to 3, in ascending order'),
        (dict(RESNET, out_indices=()), {}, 'must name some of its 4 stages'),
        (RESNET, dict(gated_stages=(4,)), r'gated_stages=\(4,\) names a stage of ResNet on which no map depends'),
        (dict(RESNET, out_indices=(0, 1)), dict(gated_stages=(2,)), 'need the stages 0 to 1'),
        (RESNET, dict(gate_output='twice'), "'before_norm' or 'after_norm'"),
        (dict(type='QueryModulated', body=RESNET), {}, 'QueryModulated takes a sentence itself'),
        (HRNET, dict(between=True), 'HRNet cannot be run one by one; set between=None'),
    ],
)
def test_what_cannot_be_gated_is_refused_in_one_sentence(body, changes, message):
    if message.startswith('must name some of its 4 stages') and body['out_indices'] == ():
        body = ResNet(18, base_channels=8)
        body.out_indices = ()
    with pytest.raises(UserError, match=message):
        modulated(body, **changes)

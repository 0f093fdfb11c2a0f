"""A network on its way out: the graphs against PyTorch, and the copied predictor where torch can't be imported."""

import importlib.util
import json
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.export_samples import CANVAS, build, needs_exporter, save, small_config
from helpers.needs import needs_torch
from helpers.paths import ROOT
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from pycocotools import mask as mask_utils

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.export.check import prepare, refshapes_questions, turned
from mmuniqrnet.export.network import ExportedNetwork, NetworkInputs
from mmuniqrnet.export.writing import OLDEST_TORCH, example_inputs
from mmuniqrnet.utils.errors import UserError

# Run in a process of its own: no module of these can be imported there, and none of this project's.
BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'transformers', 'cv2', 'mmuniqrnet'):
            raise ImportError(f'{name} is blocked')
sys.meta_path.insert(0, Block())
import json, predictor
ask = predictor.OnnxPredictor(threads=1)
print(json.dumps([ask(image, texts, batch_size=2) for image, texts in json.load(sys.stdin)]))
"""


def tool():
    spec = importlib.util.spec_from_file_location('tool_export', ROOT / 'tools' / 'export.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


export_tool = tool()


class Exported:
    """A network, exported by the tool with its config as a file, beside the network itself."""

    def __init__(self, root: Path, name: str, *options: str, changes: dict | None = None) -> None:
        cfg = small_config(name)
        cfg.merge_from_dict(changes or {})
        cfg.dump(root / 'config.py')
        weights = save(build(cfg), root / 'weights.pth')
        self.folder = root / 'out'
        export_tool.main([str(root / 'config.py'), str(weights), str(self.folder), *options])
        self.inferencer = UniQRNetInferencer(str(root / 'config.py'), weights, device='cpu', show_progress=False)
        self.model = self.inferencer.model
        self.pipeline = self.inferencer.cfg.test_dataloader.dataset.pipeline
        self.questions = refshapes_questions(root)

    @cached_property
    def session(self):
        import onnxruntime

        return onnxruntime.InferenceSession(str(self.folder / 'model.onnx'), providers=['CPUExecutionProvider'])

    @cached_property
    def program(self) -> torch.nn.Module:
        return torch.export.load(self.folder / 'model.pt2').module()

    def run(self, inputs: NetworkInputs) -> dict[str, np.ndarray]:
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {name: v.numpy() for name, v in inputs._asdict().items()})))

    def inputs(self, batch: int, length: int | None = None) -> NetworkInputs:
        """Of the first questions, their texts padded to ``length``, or to the longest."""
        images, samples = prepare(self.model, self.pipeline, self.questions[:batch])
        text = self.model.text_encoder.tokenizer(
            [text for _, text in self.questions[:batch]],
            return_tensors='pt',
            padding=True if length is None else 'max_length',
            max_length=length,
        )
        places = [
            (*s.canvas_offset[::-1], s.canvas_offset[1] + s.img_shape[1], s.canvas_offset[0] + s.img_shape[0])
            for s in samples
        ]
        return NetworkInputs(images, text['input_ids'], text['attention_mask'], torch.tensor(places))

    def expected(self, batch: int) -> dict[str, np.ndarray]:
        """By PyTorch, texts padded to max_length, through the network that was not changed for the export."""
        images, samples = prepare(self.model, self.pipeline, self.questions[:batch])
        with torch.no_grad():
            out = self.model(images, samples, mode='tensor')
        found = dict(mask_logits=out.get('mask_logits'), boxes=out.get('boxes'), scores=out.get('score_logits'))
        if found['boxes'] is not None:
            found['boxes'] = bbox_cxcywh_to_xyxy(found['boxes'])
        if found['scores'] is not None:
            found['scores'] = found['scores'].sigmoid()
        return {name: value.numpy() for name, value in found.items() if value is not None}


@pytest.fixture(scope='module')
def exported(tmp_path_factory) -> Exported:
    """UniQRNet as published in layout: learned positions, post-norm layers, padding within the windows."""
    return Exported(tmp_path_factory.mktemp('exported'), 'uniqrnet_swin-s_refcoco', '--torch-export')


@needs_exporter
@pytest.mark.parametrize('batch', [1, 3])
def test_graph_answers_as_pytorch(batch, exported):
    got, expected = exported.run(exported.inputs(batch)), exported.expected(batch)
    assert set(got) == set(expected) == {'boxes', 'scores', 'mask_logits'}
    for name, value in expected.items():
        assert got[name].shape == value.shape, name
        np.testing.assert_allclose(got[name], value, atol=1e-4, err_msg=name)
    assert got['mask_logits'].shape == (batch, 1, CANVAS // 4, CANVAS // 4)


@needs_exporter
def test_padding_a_text_changes_nothing(exported):
    short, long = exported.inputs(3), exported.inputs(3, length=20)
    assert short.input_ids.shape[1] < long.input_ids.shape[1] == exported.model.text_encoder.max_length
    for (name, first), second in zip(exported.run(short).items(), exported.run(long).values()):
        np.testing.assert_allclose(first, second, atol=1e-4, err_msg=name)


@needs_exporter
def test_text_and_window_matter(exported):
    inputs = exported.inputs(1)
    other = inputs._replace(input_ids=inputs.input_ids.flip(1))
    low = inputs._replace(window=torch.tensor([[0, CANVAS // 2, CANVAS, CANVAS]]))
    logits, *changed = (exported.run(x)['mask_logits'] for x in (inputs, other, low))
    assert all(np.abs(x - logits).max() > 1e-3 for x in changed)


@needs_exporter
def test_batch_and_length_are_open_and_named(exported):
    session = exported.session
    assert [(x.name, x.shape) for x in session.get_inputs()] == [
        ('image', ['batch', 3, CANVAS, CANVAS]),
        ('input_ids', ['batch', 'length']),
        ('attention_mask', ['batch', 'length']),
        ('window', ['batch', 4]),
    ]
    assert [(x.name, x.shape) for x in session.get_outputs()] == [
        ('boxes', ['batch', 4]),
        ('scores', ['batch']),
        ('mask_logits', ['batch', 1, CANVAS // 4, CANVAS // 4]),
    ]


@needs_exporter
def test_exported_files_do_not_name_this_machine(exported):
    for path in exported.folder.glob('model.*'):
        assert str(ROOT).encode() not in path.read_bytes(), path.name


@needs_exporter
@pytest.mark.parametrize('batch', [1, 3])
def test_torch_export_answers_as_pytorch(batch, exported):
    got = dict(zip(('boxes', 'scores', 'mask_logits'), exported.program(*exported.inputs(batch))))
    for name, value in exported.expected(batch).items():
        np.testing.assert_allclose(got[name].numpy(), value, atol=1e-5, err_msg=name)


@needs_exporter
def test_copied_predictor_answers_as_the_inferencer_without_torch(exported, tmp_path):
    asked = [
        (path, [text for other, text in exported.questions if other == path] + ['the red circle'])
        for path in dict.fromkeys(path for path, _ in exported.questions)
    ]
    asked.append((turned(exported.questions[0], tmp_path)[0], ['the red circle']))
    run = subprocess.run(
        [sys.executable, '-c', BLOCKED], input=json.dumps(asked), capture_output=True, text=True, cwd=exported.folder
    )
    assert run.returncode == 0, run.stderr
    for (path, texts), answers in zip(asked, json.loads(run.stdout)):
        for got, expected in zip(answers, exported.inferencer(path, texts)['predictions'], strict=True):
            assert list(got) == list(expected)
            assert got['box'] == pytest.approx(expected['box'], abs=1e-2)  # pixels
            assert got['score'] == pytest.approx(expected['score'], abs=1e-4)
            masks = [mask_utils.decode(answer['mask']) for answer in (got, expected)]
            assert 0 < masks[1].mean() < 1 and (masks[0] != masks[1]).mean() < 1e-3
            for key in ('image', 'image_index', 'expression', 'size', 'frame', 'refused', 'unknown_words'):
                assert got[key] == expected[key]


@needs_exporter
def test_low_scores_are_refused_as_by_the_inferencer(exported):
    from mmuniqrnet.export.predictor import OnnxPredictor

    path, text = exported.questions[0]
    got, expected = (
        OnnxPredictor(exported.folder)(path, text, refuse_below=1.0),
        exported.inferencer(path, text, refuse_below=1.0)['predictions'],
    )
    with pytest.raises(ValueError, match='refuse_below should be a number from 0 to 1, not 50'):
        OnnxPredictor(exported.folder)(path, text, refuse_below=50)
    differing = dict(score=pytest.approx(expected[0]['score'], abs=1e-4), model=str(exported.folder))
    assert got[0] == expected[0] | differing
    assert (got[0]['refused'], got[0]['box'], got[0]['mask']) == (True, None, None)


FEWER = [('qrnet_swin-s_refcoco', {'boxes'}), ('uniqrnet-res_swin-s_refcoco', {'scores', 'mask_logits'})]


@pytest.mark.parametrize('name, outputs', FEWER)
def test_outputs_are_those_of_the_branches(name, outputs):
    model = build(small_config(name))
    network = ExportedNetwork(model)
    with torch.no_grad():
        got = dict(zip(network.output_names, network(*example_inputs(network)), strict=True))
    assert set(got) == outputs


@needs_exporter
@pytest.mark.slow
@pytest.mark.parametrize('name, outputs', FEWER)
def test_networks_with_fewer_branches_have_fewer_outputs(name, outputs, tmp_path):
    exported = Exported(tmp_path, name)
    got, expected = exported.run(exported.inputs(3)), exported.expected(3)
    assert set(got) == set(expected) == outputs
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, atol=1e-4, err_msg=key)
    assert not (exported.folder / 'model.pt2').exists()


@needs_exporter
@pytest.mark.slow
@pytest.mark.parametrize(
    'branch',
    [
        {'model.head.box_branch.type': 'PointingBoxBranch', 'model.head.box_branch.sees_reference': False},
        {
            'model.head.box_branch': dict(_delete_=True, type='DenseBoxBranch', embed_dims=32),
            'model.head.loss_box_choice': 1.0,
        },
        {
            'model.head.box_branch.sees_reference': False,
            'model.head.box_refiner': dict(type='BoxRefiner', embed_dims=32, in_channels=32),
        },
    ],
)
def test_a_box_from_tokens_and_the_mask_cut_to_it_are_in_the_graph(branch, tmp_path):
    exported = Exported(
        tmp_path,
        'uniqrnet_swin-s_refcoco',
        changes=branch
        | {
            'model.head.box_from_mask': False,
            'model.head.test_cfg.mask_margin': 0.0,
        },
    )
    got, expected = exported.run(exported.inputs(3)), exported.expected(3)
    assert expected['mask_logits'].shape == (3, 1, CANVAS, CANVAS) and (expected['mask_logits'] < -20).any()
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, atol=1e-4, err_msg=key)
    path, text = exported.questions[0]
    from mmuniqrnet.export.predictor import OnnxPredictor

    (answer,) = OnnxPredictor(exported.folder)(path, text)
    (reference,) = exported.inferencer(path, text)['predictions']
    assert answer['box'] == pytest.approx(reference['box'], abs=1e-2)
    masks = [mask_utils.decode(a['mask']) for a in (answer, reference)]
    assert (masks[0] != masks[1]).mean() < 1e-2


@needs_exporter
@pytest.mark.slow
def test_the_photograph_network_is_exported(tmp_path):
    photograph = ROOT / 'docs' / 'tutorials' / 'photographs' / 'astronaut.jpg'
    asked = str(photograph), 'person on the left'
    export_tool.main(['--weights', 'photos', str(tmp_path / 'out'), '--check', *asked])  # it compares with PyTorch
    from mmuniqrnet.export.predictor import OnnxPredictor

    (answer,) = OnnxPredictor(tmp_path / 'out')(*asked)
    (expected,) = UniQRNetInferencer(weights='photos', device='cpu', show_progress=False)(*asked)['predictions']
    assert answer['box'] == pytest.approx(expected['box'], abs=0.1)  # pixels
    assert answer['score'] == pytest.approx(expected['score'], abs=1e-4)


def test_the_network_itself_is_not_changed():
    model = build(small_config())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network = ExportedNetwork(model)
    blocks = [module for module in model.modules() if hasattr(module, 'window_reverse')]
    assert blocks and not any('window_reverse' in vars(block) for block in blocks)
    assert all(parameter.requires_grad for parameter in model.head.parameters())
    network.model.head.encoder.reg_token.weight.data += 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['config.py', 'out'], 'give CONFIG CHECKPOINT OUT_DIR, or --weights WEIGHTS OUT_DIR'),
        (['--weights', 'x.safetensors', 'config.py', 'out'], 'give CONFIG CHECKPOINT OUT_DIR'),
        (['--weights', 'x.safetensors', 'out', '--cfg-options', 'a=1'], 'the config is the one in the weights file'),
        (['nowhere.py', 'weights.pth', 'out'], 'there is no config nowhere.py'),
        (['--weights', 'nowhere.safetensors', 'out'], 'there is no checkpoint nowhere.safetensors'),
        (
            ['--weights', 'x.safetensors', 'out', '--check', 'nowhere.png', 'a'],
            '--check: there is no image nowhere.png',
        ),
    ],
)
@needs_exporter
def test_bad_arguments_are_said_in_a_sentence(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        export_tool.main(arguments)
    assert not list(tmp_path.iterdir())


@needs_torch(OLDEST_TORCH, f'torch {OLDEST_TORCH} is asked for first')
def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('onnx', 'onnxscript'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"onnx, onnxscript can't be imported; pip install onnx onnxscript"):
        export_tool.main(['--weights', 'x.safetensors', 'out'])

import json
import math
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.nano_model import nano_checkpoint, nano_config, scene
from helpers.paths import NANO_CONFIG
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from pycocotools import mask as coco_mask

from mmuniqrnet.apis import UniQRNetInferencer, shipped_weights
from mmuniqrnet.checkpoints import CheckpointError, read_checkpoint
from mmuniqrnet.checkpoints.file_io import write_checkpoint
from mmuniqrnet.models.gate_recording import record_gates
from mmuniqrnet.utils.errors import UserError

CHANNELS = (24, 48, 96)
FPN = dict(type='mmdet.FPN', in_channels=list(CHANNELS), out_channels=64, num_outs=3)
RESNET = dict(
    type='mmdet.ResNet',
    depth=18,
    num_stages=3,
    strides=(1, 2, 2),
    dilations=(1, 1, 1),
    out_indices=(0, 1, 2),
    base_channels=24,
)
SWIN = dict(
    type='mmdet.SwinTransformer',
    embed_dims=24,
    depths=(2, 2, 2),
    num_heads=(2, 4, 8),
    window_size=4,
    strides=(4, 2, 2),
    out_indices=(0, 1, 2),
)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return nano_checkpoint(tmp_path_factory.mktemp('weights') / 'nano.safetensors')


@pytest.fixture(scope='module')
def ask(weights) -> UniQRNetInferencer:
    return UniQRNetInferencer(weights=weights, device='cpu', show_progress=False)


def other(tmp_path, **model) -> UniQRNetInferencer:
    """One whose model has other parts."""
    path = nano_checkpoint(tmp_path / 'other.safetensors', nano_config(**model))
    return UniQRNetInferencer(weights=path, device='cpu', show_progress=False)


@pytest.fixture(scope='module')
def scenes() -> list[tuple[np.ndarray, list[str]]]:
    return [scene(seed) for seed in (0, 1, 3)]


@pytest.fixture
def files(scenes, tmp_path) -> list[str]:
    folder = tmp_path / 'images'
    folder.mkdir()
    paths = [str(folder / f'{name}.png') for name in 'cab']
    for path, (picture, _) in zip(paths, scenes):
        Image.fromarray(picture).save(path)
    return paths


def same(one: dict, other: dict, pixels: float = 0.0) -> bool:
    """Whether two answers are the same, or, if they were computed in other batches, as good as the same.

    Edges of an untrained mask are shallow, so what rounding changes is magnified: in the box that starts from the mask,
    and in the pixels at the mask's own edge.
    """
    if one['expression'] != other['expression']:
        return False
    if not pixels:
        return [*one['box'], one['score'], one['mask']] == [*other['box'], other['score'], other['mask']]
    return (
        np.allclose(one['box'], other['box'], rtol=0, atol=pixels)
        and abs(one['score'] - other['score']) < 1e-4
        and (one['mask'] == other['mask'] or coco_mask.iou([one['mask']], [other['mask']], [0])[0, 0] > 0.99)
    )


# What is answered --------------------------------------------------------------------------------------------------


def test_answers_come_image_by_image_and_say_what_they_are(ask, scenes, files):
    asked = [texts for _, texts in scenes]
    found = ask(files, asked)['predictions']
    assert [answer['expression'] for answer in found] == [text for texts in asked for text in texts]
    assert [answer['image_index'] for answer in found] == [i for i, texts in enumerate(asked) for _ in texts]
    assert len({len(texts) for texts in asked}) > 1  # images with differing numbers of expressions
    for answer in found:
        height, width = scenes[answer['image_index']][0].shape[:2]
        assert answer['image'] == files[answer['image_index']] and answer['size'] == [height, width]
        x1, y1, x2, y2 = answer['box']
        assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height and 0 < answer['score'] < 1
        assert coco_mask.decode(answer['mask']).shape == (height, width) and answer['refused'] is False
    areas = [coco_mask.area(answer['mask']) for answer in found]
    assert len(set(map(int, areas))) > len(areas) // 2  # the network of these tests minds the text
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize('batch_size', [1, 3, 16])
def test_batches_change_no_answer(ask, scenes, batch_size):
    images, asked = zip(*scenes)
    together = ask(list(images), list(asked), batch_size=batch_size)['predictions']
    alone = [ask(image, text)['predictions'][0] for image, texts in scenes for text in texts]
    assert len(together) == len(alone)
    assert all(same(one, other, pixels=1e-2) for one, other in zip(together, alone))


def test_a_file_an_array_and_a_pil_image_are_the_same(ask, scenes, files):
    picture, (text, *_) = scenes[0]
    rgba = Image.fromarray(picture).convert('RGBA')
    answers = ask([files[0], picture, Image.fromarray(picture), rgba, picture[..., ::-1]], text)['predictions']
    assert all(same(answer, answers[0]) for answer in answers[1:4])
    assert not same(answers[4], answers[0])  # RGB, not BGR
    assert [answer['image'] for answer in answers] == [files[0], 1, 2, 3, 4]


def test_what_expressions_may_be(ask, scenes):
    images = [picture for picture, _ in scenes]
    one, two, three = ('red star', 'blue ring', 'heart')

    def asked(*arguments) -> list:
        return [(answer['image_index'], answer['expression']) for answer in ask(*arguments)['predictions']]

    assert asked(images[0], one) == asked([images[0]], [[one]]) == [(0, one)]
    assert asked(images[0], [one, two]) == [(0, one), (0, two)]
    assert asked(images, one) == [(0, one), (1, one), (2, one)]
    assert asked(images, [one, two, three]) == [(0, one), (1, two), (2, three)]
    assert asked(images, [[one, two], [], three]) == [(0, one), (0, two), (2, three)]


def test_a_folder_is_asked_in_the_order_of_its_names(ask, files, tmp_path):
    folder = tmp_path / 'images'
    (folder / '.hidden').write_text('')
    (folder / 'more').mkdir()
    found = ask(folder, 'heart')['predictions']
    assert [answer['image'] for answer in found] == sorted(files)
    assert [answer['image'] for answer in ask([files[0], str(folder)], 'heart')['predictions']] == [
        files[0],
        *sorted(files),
    ]


def test_datasamples_hold_the_same_answers(ask, scenes):
    picture, texts = scenes[0]
    plain = ask([picture, 'gone.png'], [texts, 'heart'])['predictions']
    samples = ask([picture, 'gone.png'], [texts, 'heart'], return_datasamples=True)['predictions']
    assert 'error' in samples.pop() and 'error' in plain.pop()
    for answer, sample in zip(plain, samples, strict=True):
        assert isinstance(sample, DetDataSample) and sample.text == answer['expression']
        assert sample.pred_instances.bboxes[0].tolist() == answer['box'] and sample.image_index == 0
        assert np.array_equal(sample.pred_instances.masks[0].numpy(), coco_mask.decode(answer['mask']))


def test_gates_come_in_pixels_of_the_image(ask, scenes):
    """Each gate's tokens, put on the canvas, cut to the image and resized by OpenCV; canvas and network are square."""
    (picture, texts), (second, _) = scenes[:2]
    answers = ask([picture[:100], second], [texts, 'heart'], batch_size=2, return_gates=True)['predictions']
    for answer, image in zip(answers, [picture[:100]] * len(texts) + [second], strict=True):
        text = answer['expression']
        sample = ask.pipeline(image, text)
        sample.data_sample.set_metainfo(dict(text=text))
        with record_gates(ask.model) as recorded:
            (done,) = ask.model.test_step(dict(inputs=[sample.inputs], data_samples=[sample.data_sample]))
        spatial = {name.removesuffix('.spatial'): gate for name, gate in recorded.items() if name.endswith('.spatial')}
        assert set(answer['gates']) == set(spatial) and 'backbone.gates.0' in spatial
        side = done.batch_input_shape[0]
        (top, left), (height, width) = done.canvas_offset, done.img_shape
        for name, gate in spatial.items():
            n = math.isqrt(gate.shape[1])
            tokens = gate[0, :, 0].numpy().reshape(n, n)
            canvas = cv2.resize(tokens, (side, side), interpolation=cv2.INTER_LINEAR)
            expected = cv2.resize(
                canvas[top : top + height, left : left + width],
                (image.shape[1], image.shape[0]),
                interpolation=cv2.INTER_LINEAR,
            )
            np.testing.assert_allclose(answer['gates'][name], expected, atol=1e-3, err_msg=f'{text}: {name}')
            assert expected.std() > 1e-3  # not one that is the same everywhere
    assert not np.allclose(answers[0]['gates']['backbone.gates.2'], answers[1]['gates']['backbone.gates.2'])
    assert 'gates' not in ask(picture, texts[0])['predictions'][0]


@pytest.mark.parametrize('branch, missing', [('mask_branch', 'mask'), ('box_branch', 'box')])
def test_boxes_only_and_masks_only(branch, missing, scenes, tmp_path):
    head = dict(nano_config().model.head, box_from_mask=False, test_cfg=dict(mask_margin=None))
    head |= dict(box_branch=dict(head['box_branch'], sees_reference=False), deep_supervision=branch == 'box_branch')
    head[branch] = None
    inferencer = other(tmp_path, head=head)
    result = inferencer(*scenes[0], draw=True, out_dir=tmp_path / 'out')
    given = {'mask', 'box'} - {missing}
    for answer in result['predictions']:
        assert answer[missing] is None and all(answer[name] is not None for name in given)
        assert ('mask_file' in answer) == (missing == 'box')
    assert all(picture is not None for picture in result['visualization'])


def test_low_scores_are_refused(ask, scenes, weights):
    picture, texts = scenes[0]
    plain = ask(picture, texts)['predictions']
    threshold = sorted(answer['score'] for answer in plain)[1]
    for answer, before in zip(ask(picture, texts, refuse_below=threshold)['predictions'], plain):
        assert answer['score'] == before['score']
        assert answer['refused'] == (before['score'] < threshold)
        assert (answer['box'], answer['mask']) == (
            (None, None) if answer['refused'] else (before['box'], before['mask'])
        )
    cfg = nano_config()
    cfg.test_evaluator = [dict(type='ReferringMetric'), dict(type='ReferringMetric', refuse_below=threshold)]
    by_config = UniQRNetInferencer(cfg, weights, 'cpu', show_progress=False)
    assert [a['refused'] for a in by_config(picture, texts)['predictions']] == [a['score'] < threshold for a in plain]
    assert not any(answer['refused'] for answer in by_config(picture, texts, refuse_below=0.0)['predictions'])
    cfg.test_evaluator[1]['refuse_below'] = 50
    with pytest.raises(UserError, match='test_evaluator.refuse_below of the config 50: .* from 0 to 1'):
        UniQRNetInferencer(cfg, weights, 'cpu')


# What is computed once ---------------------------------------------------------------------------------------------


def counted(*parts: torch.nn.Module) -> list[int]:
    """The rows that each of these has seen, in all its calls."""
    rows = [0] * len(parts)
    for i, part in enumerate(parts):

        def count(module, inputs, output, i=i):
            first = inputs[0]
            rows[i] += len(first[0] if isinstance(first, list | tuple) else first)

        part.register_forward_hook(count)
    return rows


@pytest.mark.parametrize('batch_size', [2, 16])
def test_what_no_text_changes_is_computed_once_an_image(batch_size, weights, scenes):
    inferencer = UniQRNetInferencer(weights=weights, device='cpu', show_progress=False)
    backbone = inferencer.model.backbone
    rows = counted(
        backbone.patch_embed,
        backbone.stages[0].blocks[0],
        backbone.stages[0].blocks[1],
        backbone.gates[0],
        backbone.stages[1].blocks[0],
    )
    images, asked = zip(*scenes)
    total = sum(map(len, asked))
    assert total > 2 * len(images)
    inferencer(list(images), list(asked), batch_size=batch_size)
    assert rows == [len(images)] * 3 + [total] * 2


@pytest.mark.parametrize(
    'name, backbone, neck',
    [
        ('ResNet', RESNET, FPN),
        ('Swin', SWIN, FPN),
        ('Swin and gated neck', SWIN, None),
        ('gated late', dict(nano_config().model.backbone, gated_stages=(2,)), None),
        ('not gated', dict(nano_config().model.backbone, gated_stages=()), None),
    ],
)
def test_what_a_text_agnostic_part_gives_is_computed_once_an_image(name, backbone, neck, scenes, tmp_path):
    inferencer = other(tmp_path, backbone=backbone, **({} if neck is None else dict(neck=neck)))
    model = inferencer.model
    images, asked = zip(*scenes)
    alone = [inferencer(image, text)['predictions'][0] for image, texts in scenes for text in texts]
    parts = [model.backbone.stages[1].blocks[0] if name in ('gated late', 'not gated') else model.backbone]
    rows = counted(*parts, model.neck)
    together = inferencer(list(images), list(asked), batch_size=3)['predictions']
    assert rows == [len(images), len(alone) if neck is None else len(images)]
    assert all(same(one, other, pixels=1e-2) for one, other in zip(together, alone, strict=True))


def test_what_is_asked_twice_is_computed_once(weights, scenes, files):
    """Images of different sizes; the first of them by its path twice; a text about two of them, one about one twice."""
    inferencer = UniQRNetInferencer(weights=weights, device='cpu', show_progress=False)
    small = np.ascontiguousarray(scenes[1][0][:40, :56])
    images = [files[0], small, files[0], scenes[2][0], small]
    asked = [['red ring', 'blue star', 'red ring'], ['red ring'], ['red ring', 'heart', ' '], ['heart'], ['red ring']]
    expected = [inferencer(i, t)['predictions'][0] for i, texts in zip(images, asked) for t in texts]
    rows = counted(inferencer.model.backbone.patch_embed, inferencer.model.backbone.gates[0])
    texts = []
    inferencer.model.text_encoder.model.register_forward_hook(
        lambda module, args, kwargs, out: texts.append(len(kwargs['input_ids'])), with_kwargs=True
    )
    found = inferencer(images, asked)['predictions']
    assert rows == [3, 5] and texts == [3]
    assert [answer['image_index'] for answer in found] == [0, 0, 0, 1, 2, 2, 2, 3, 4]
    assert 'error' in found.pop(6) and 'error' in expected.pop(6)
    assert all(same(one, other, pixels=1e-2) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize('share_images', [False, True])
def test_many_expressions_get_the_numbers_of_single_calls(scenes, share_images):
    """Of the shipped model: the masks of a trained network have steep edges, which do not magnify rounding."""
    cfg = nano_config()
    cfg.model.data_preprocessor.share_images = share_images
    inferencer = UniQRNetInferencer(cfg, shipped_weights('shapes'), 'cpu', show_progress=False)
    (first, texts), (second, more) = scenes[:2]
    images, asked = [first, second[:50, :70], first.copy()], [texts, more, texts]  # arrays have no path
    together = inferencer(images, asked)['predictions']
    alone = [inferencer(i, t)['predictions'][0] for i, of_image in zip(images, asked) for t in of_image]
    for one, single in zip(together, alone, strict=True):
        assert one['expression'] == single['expression'] and one['mask'] == single['mask']
        assert np.allclose(np.divide(one['box'], 128), np.divide(single['box'], 128), rtol=0, atol=1e-5)
        assert abs(one['score'] - single['score']) < 1e-5


def test_a_backbone_that_can_not_be_divided_still_answers(weights, scenes):
    inferencer = UniQRNetInferencer(weights=weights, device='cpu', show_progress=False)
    expected = inferencer(*scenes[0])['predictions']
    gated = inferencer.model.backbone

    class Whole(torch.nn.Module):
        takes_sentence = True

        def forward(self, images, sentence):
            return gated(images, sentence)

    inferencer.model.backbone = Whole()
    assert all(same(*pair, 1e-2) for pair in zip(inferencer(*scenes[0])['predictions'], expected, strict=True))


def test_images_are_decoded_once_and_anew_in_every_call(weights, files, scenes, monkeypatch):
    cfg = nano_config()
    cfg.test_dataloader.dataset.pipeline[0].type = 'LoadImageOnce'
    inferencer = UniQRNetInferencer(cfg, weights, 'cpu', show_progress=False)
    reads, load = [], inferencer.pipeline.load
    monkeypatch.setattr(inferencer.pipeline, 'load', lambda item: reads.append(item['img_path']) or load(item))
    before = inferencer(files, [texts for _, texts in scenes], batch_size=2)['predictions']
    assert reads == files
    Image.fromarray(scenes[1][0]).save(files[0])  # another picture under the same name
    text = before[0]['expression']
    assert not same(inferencer(files[0], text)['predictions'][0], before[0])


# What goes wrong with one, and with all ----------------------------------------------------------------------------


def test_an_error_stays_with_its_item(ask, scenes, files, tmp_path):
    picture, (text, *_) = scenes[0]
    (tmp_path / 'cut.png').write_bytes(Path(files[0]).read_bytes()[:-100])
    (tmp_path / 'notes.txt').write_text('no image')
    wide = np.zeros((1, 4000, 3), np.uint8)
    inputs = [
        picture,
        'gone.png',
        str(tmp_path / 'cut.png'),
        str(tmp_path / 'notes.txt'),
        picture.astype(float),
        picture[..., 0],
        Image.fromarray(picture[..., 0].astype(np.int32)),
        7,
        'https://host/a.png',
        wide,
        Image.open(tmp_path / 'cut.png'),
        files[0],
    ]
    asked = [[text, ' ', text]] + [text] * 11
    found = ask(inputs, asked)['predictions']
    errors = [answer.get('error') for answer in found]
    expected = [
        None,
        'the expression is empty',
        None,
        'there is no image gone.png',
        'cut.png is damaged',
        'notes.txt is not an image',
        'this is float64',
        'this is uint8 [',
        "of mode 'I'",
        'this is of type int',
        'download it first',
        '4000 x 1 pixels',
        'the PIL image cannot be decoded',
        None,
    ]
    for answer, error, words in zip(found, errors, expected, strict=True):
        assert (error is None) == (words is None), answer
        if words is not None:
            assert words in error and error.endswith('.') and '\n' not in error
            assert set(answer) == {'image', 'image_index', 'expression', 'error'}
    assert same(found[0], ask(picture, text)['predictions'][0], 1e-2) and same(found[2], found[0], 1e-2)


def test_nothing_but_errors(ask):
    result = ask(['gone.png', 'lost.png'], 'heart', draw=True)
    assert all('error' in answer for answer in result['predictions']) and result['visualization'] == [None, None]


@pytest.mark.parametrize(
    'images, expressions, options, error, words',
    [
        (['a.png', 'b.png'], ['one'], {}, ValueError, '2 images and expressions for 1'),
        (['a.png', 'b.png'], [['one'], ['two'], ['three']], {}, ValueError, '2 images and expressions for 3'),
        (['a.png', 'b.png'], [['one'], [3]], {}, TypeError, r'expressions of image 1 are \[3\]'),
        ('a.png', None, {}, TypeError, 'not a NoneType'),
        ('a.png', 'the \ud83d dog', {}, UserError, r"the expression 'the \\ud83d dog' is not valid Unicode \(an emoji"),
        (['a.png', 'b.png'], [['one'], ['\udce9t\xe9']], {}, UserError, r"'\\udce9té' is not valid Unicode"),
        ([], 'one', {}, ValueError, 'empty list'),
        ('a.png', 'one', dict(batch_size=0), ValueError, 'batch_size should be a positive'),
        ('a.png', 'one', dict(refuse_below=50), UserError, 'refuse_below 50: .* from 0 to 1'),
        ('a.png', 'one', dict(refuse_below=math.nan), UserError, 'refuse_below nan: .* from 0 to 1'),
        ('a.png', 'one', dict(return_vis=True), TypeError, "unexpected keyword argument 'return_vis'"),
    ],
)
def test_what_can_not_be_asked_at_all_is_refused_at_once(ask, images, expressions, options, error, words):
    with pytest.raises(error, match=words):
        ask(images, expressions, **options)


def test_an_empty_folder_is_refused(ask, tmp_path):
    with pytest.raises(ValueError, match='has no file in it'):
        ask(tmp_path, 'heart')


def test_cut_text_is_said_once(ask, scenes):
    picture, _ = scenes[0]
    long = 'the red star ' + 'to the left of the blue ring ' * 3
    with pytest.warns(UserWarning) as caught:
        ask([picture, picture], [[long, 'red star'], [long]])
    (words,) = [str(warning.message) for warning in caught]
    assert '26 tokens, and the network reads 16' in words
    assert words.endswith('reads only "the red star to the left of the blue ring to the left of".')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ask(picture, 'the red star')


def test_broken_weights_are_said_to_be_broken(weights, scenes, tmp_path):
    checkpoint = read_checkpoint(weights)
    state = {
        name: value * float('nan') if name.startswith('head.box_branch') else value
        for name, value in checkpoint['state_dict'].items()
    }
    write_checkpoint(dict(checkpoint, state_dict=state), tmp_path / 'nan.safetensors')
    broken = UniQRNetInferencer(weights=tmp_path / 'nan.safetensors', show_progress=False)
    (answer,) = broken(scenes[0][0], 'x')['predictions']
    assert 'its weights are unusable' in answer['error']


# Where config and weights come from --------------------------------------------------------------------------------


def test_config_and_weights_in_every_way(ask, weights, scenes, tmp_path):
    checkpoint = read_checkpoint(weights)
    torch.save(dict(meta=dict(cfg=nano_config().pretty_text), state_dict=checkpoint['state_dict']), tmp_path / 'a.pth')
    torch.save(checkpoint['state_dict'], tmp_path / 'bare.pth')
    ways = [
        (None, tmp_path / 'a.pth'),
        (str(NANO_CONFIG), tmp_path / 'bare.pth'),
        (nano_config(), str(weights)),
        (Config.fromfile(NANO_CONFIG).to_dict(), weights),
    ]
    (expected,) = ask(scenes[0][0], 'heart')['predictions']
    for model, path in ways:
        inferencer = UniQRNetInferencer(model, path, 'cpu', show_progress=False)
        assert same(inferencer(scenes[0][0], 'heart')['predictions'][0], expected)
    other = nano_config()
    other.model.head.encoder.num_heads = 2
    with pytest.warns(UserWarning, match=r'a.pth was trained with head.encoder.num_heads=\d \(now 2\)'):
        UniQRNetInferencer(other, tmp_path / 'a.pth', 'cpu', show_progress=False)
    with pytest.raises(UserError, match='bare.pth does not contain its config'):
        UniQRNetInferencer(weights=tmp_path / 'bare.pth')
    with pytest.raises(UserError, match='gives random answers; name the checkpoint'):
        UniQRNetInferencer(str(NANO_CONFIG))


def test_weights_that_do_not_fit_are_refused(weights, tmp_path):
    checkpoint = read_checkpoint(weights)
    state = {name: value for name, value in checkpoint['state_dict'].items() if 'score_branch' not in name}
    write_checkpoint(dict(checkpoint, state_dict=state), tmp_path / 'less.safetensors')
    with pytest.raises(
        CheckpointError, match=r'less\.safetensors does not fit the model: 0 of \d+ tensors of head\.score_branch match'
    ):
        UniQRNetInferencer(weights=tmp_path / 'less.safetensors')
    # what only training needs may be missing
    state = {name: value for name, value in checkpoint['state_dict'].items() if 'pixel_guidance' not in name}
    write_checkpoint(dict(checkpoint, state_dict=state), tmp_path / 'lean.safetensors')
    UniQRNetInferencer(weights=tmp_path / 'lean.safetensors')


@pytest.mark.parametrize(
    'model, device, words',
    [
        ('gone.py', None, 'there is no config gone.py'),
        (
            dict(model=dict(type='mmdet.SwinTransformer'), test_dataloader=dict(dataset=dict(pipeline=[]))),
            None,
            'is a SwinTransformer; this inferencer needs a UniQRNet',
        ),
        (
            dict(model=dict(type='UniQRNat'), test_dataloader=dict(dataset=dict(pipeline=[]))),
            None,
            'the model cannot be built: .*UniQRNat is not in the mmuniqrnet::model registry; import the package',
        ),
        (None, 'gpu', "there is no device 'gpu'"),
        (None, 'meta', 'the device meta is not available: [^\n]*[^.]\\.$'),
        pytest.param(
            None,
            'mps',
            'the device mps is not available: ',
            marks=pytest.mark.skipif(torch.backends.mps.is_available(), reason='needs a machine without MPS'),
        ),
        pytest.param(
            None,
            'cuda:99',
            'the device cuda:99 is not available: .*invalid device ordinal',
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a machine with a GPU'),
        ),
        pytest.param(
            None,
            'cuda:0',
            'torch finds no CUDA GPU',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without GPU'),
        ),
    ],
)
def test_what_it_can_not_be_made_of(model, device, words, weights):
    with pytest.raises(UserError, match=words):
        UniQRNetInferencer(model, weights, device)


def test_it_leaves_no_default_scope_behind(weights):
    before = dict(DefaultScope._instance_dict)
    UniQRNetInferencer(weights=weights, device='cpu')
    assert DefaultScope._instance_dict == before


def test_shipped_weights_that_are_missing_or_unknown(monkeypatch):
    monkeypatch.setattr('mmuniqrnet.apis.shipped.SHIPPED', {'shapes': 'gone.safetensors'})
    with pytest.raises(UserError, match='the shipped weights are missing .*gone.safetensors'):
        shipped_weights('shapes')
    with pytest.raises(UserError, match="no shipped weights 'photo'; name one of shapes"):
        shipped_weights('photo')

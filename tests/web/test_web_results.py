"""What the page asks, shows and writes, without a browser and without Gradio."""

import json
import zipfile

import numpy as np
import pytest
from helpers.web_samples import answer, make_weights, rectangle, refused
from PIL import Image
from pycocotools import mask as coco_mask

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.apis.outputs import refuse
from mmuniqrnet.models.layers.query_dynamic_attention import SpatialGate
from mmuniqrnet.serving.uploads import read_upload
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.web.asking import BATCH_SIZE, MAX_PHRASES, ask, gates_of, phrases_of, reading_notes
from mmuniqrnet.web.results import fit, gate_pictures, labels_of, opacity_of, table_rows, write_files


def grey(height, width):
    return np.full((height, width, 3), 100, np.uint8)


def test_phrases_are_the_lines_that_say_something():
    assert phrases_of('  the red   circle \n\n\t\nthe dog\r\n') == ['the red circle', 'the dog']


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'There is no phrase yet'),
        (None, 'There is no phrase yet'),
        (' \n\t\n', 'There is no phrase yet'),
        ('a\n' * (MAX_PHRASES + 1), f'These are {MAX_PHRASES + 1} phrases: ask at most {MAX_PHRASES}'),
        ('ok\n' + 'x' * 301, 'Phrase 2 has 301 characters'),
    ],
)
def test_bad_phrases_are_told(text, message):
    with pytest.raises(UserError, match=message):
        phrases_of(text)


def test_answers_and_refusals_are_the_inferencers(inferencer, scene):
    predictions = ask(inferencer, read_upload(scene.path), 'scene_1.png', scene.phrases)
    scores = sorted(prediction['score'] for prediction in predictions)
    threshold = (scores[0] + scores[1]) / 2
    for below in (0.0, threshold):
        expected = inferencer(str(scene.path), scene.phrases, BATCH_SIZE, refuse_below=below)['predictions']
        assert refuse(predictions, below) == [dict(one, image='scene_1.png') for one in expected]
    assert [one['refused'] for one in refuse(predictions, threshold)].count(True) == 1


@pytest.mark.parametrize(
    'phrase, notes',
    [
        ('The red dog,', ['the model does not know “dog”']),
        ('left Giraffe or dog', ['the model does not know “Giraffe”, “or”, “dog”']),
        ('one 狗 (circle)', ['the model does not know “狗”']),
        ('a circle', ['the model does not know “a”']),
        # 16 tokens, two of them at the ends
        ('red ' * 14, []),
        ('red ' * 15, ['too long: its end is not read']),
    ],
)
def test_what_the_model_does_not_read_is_noted(inferencer, phrase, notes):
    assert reading_notes(inferencer, phrase) == notes


def test_gates_are_all_of_the_models(inferencer, scene):
    picture = read_upload(scene.path)
    gates = gates_of(inferencer, picture, scene.phrases[0])
    names = [name for name, part in inferencer.model.named_modules() if isinstance(part, SpatialGate)]
    assert list(gates) == [name.removesuffix('.spatial') for name in names] and len(gates) == 5
    assert all(values.shape == picture.shape[:2] for values in gates.values())


@pytest.mark.parametrize(
    'switched_off, message',
    [
        (dict(channel_gate=False, spatial_gate=False), 'has no ChannelGate or SpatialGate'),
        (dict(spatial_gate=False), 'no spatial gates'),
    ],
)
def test_a_model_without_gates_says_so(tmp_path, scene, switched_off, message):
    plain = UniQRNetInferencer(weights=make_weights(tmp_path / 'plain.pth', **switched_off), show_progress=False)
    with pytest.raises((UserError, ValueError), match=message):
        gates_of(plain, read_upload(scene.path), 'the circle')


@pytest.mark.parametrize(
    'shape, shown', [((60, 90), (683, 1024)), ((3000, 4000), (768, 1024)), ((2000, 100), (1024, 51))]
)
def test_pictures_are_scaled_to_the_size_at_which_they_are_shown(shape, shown):
    assert fit(grey(*shape)).shape[:2] == shown


@pytest.mark.parametrize('height, width', [(60, 90), (1600, 3200)])
def test_an_answer_is_drawn_where_it_is(height, width):
    x, y = width // 9, height // 6
    mask = rectangle(height, width, 2 * x, 2 * y, 3 * x, 3 * y)
    shown = (512, 768)
    opacity = opacity_of(answer('a', [x, y, 4 * x, 5 * y], 0.9, mask), *shown)
    assert opacity.shape == shown
    scale_x, scale_y = shown[1] / width, shown[0] / height
    rows, columns = np.nonzero(opacity == 1)
    ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(ends - np.array([x * scale_x, y * scale_y, 4 * x * scale_x, 5 * y * scale_y])).max() <= 3
    assert opacity[int(2.5 * y * scale_y), int(2.5 * x * scale_x)] == 0.5
    assert opacity[int(4 * y * scale_y), int(2.5 * x * scale_x)] == 0
    assert opacity.min() >= 0 and opacity.max() == 1


def test_what_is_refused_or_failed_is_not_drawn():
    failed = dict(image=0, image_index=0, expression='d', error='broken')
    assert opacity_of(refused('b', 0.1), 9, 9) is None
    assert opacity_of(failed, 9, 9) is None


def test_equal_phrases_have_different_labels():
    assert labels_of(['a', 'a']) == ['1: a', '2: a']


def test_gate_maps_are_warm_where_the_gate_is_open():
    values = np.full((60, 90), 0.25, np.float32)
    values[:, 60:] = 0.75
    (heat, caption), (flat, _) = gate_pictures(
        grey(60, 90), {'backbone.gates.1': values, 'odd': np.full((60, 90), 0.5)}
    )
    assert caption == 'backbone 1: 0.25 to 0.75'
    assert heat.shape == (320, 480, 3)
    assert (heat[:, 330:, 1].min() > 150) and (heat[:, :310, 1].max() < 60)  # viridis: from dark violet to yellow
    assert (flat == flat[0, 0]).all()


def test_the_table_says_what_was_found():
    predictions = [
        answer('a', [1.04, 2, 30.06, 40], 0.91234, rectangle(50, 60, 0, 0, 30, 25)),
        refused('b', 0.1),
        dict(image=0, image_index=0, expression='c', error='there <is> no c'),
    ]
    assert table_rows(predictions, 0.3, [['too long'], [], ['x']]) == [
        [1, 'a', 'found; too long', '0.912', '1.0, 2.0, 30.1, 40.0', '25.0%'],
        [2, 'b', 'refused, below 0.30', '0.100', '', ''],
        [3, 'c', 'there <is> no c; x', '', '', ''],
    ]


def test_files_hold_the_same_masks(tmp_path):
    mask = np.random.default_rng(0).random((50, 60)) > 0.5
    predictions = [
        answer('the red/blue one', [1.0, 2.0, 30.0, 40.0], 0.9, mask, image='my photo.jpg'),
        refused('b', 0.1, image='my photo.jpg'),
    ]
    opacity = np.zeros((50, 60), np.float32)
    opacity[:, :20], opacity[:, 20:40] = 1, 0.5
    everything, *files = write_files(tmp_path, predictions, grey(50, 60), [opacity, None])
    assert everything.name == 'my_photo_answers.zip'
    assert [file.name for file in files] == ['answers.png', 'my_photo_the_red_blue_one.png', 'predictions.json']
    assert (np.array(Image.open(files[1])) == 255 * mask).all()
    drawn = np.array(Image.open(files[0]))
    assert drawn[0, 0].tolist() == [213, 94, 0]  # the first colour
    assert np.abs(drawn[0, 30] - np.array([156.5, 97, 50])).max() <= 0.5 and drawn[0, 50].tolist() == [100] * 3
    with zipfile.ZipFile(everything) as archive:
        assert archive.testzip() is None
        names = sorted(name for name in archive.namelist() if not name.endswith('/'))
        assert names == ['answers.png', f'masks/{files[1].name}', 'predictions.json']
        told = json.loads(archive.read('predictions.json'))['predictions']
    assert told[0]['mask_file'] == f'masks/{files[1].name}'
    assert (coco_mask.decode(told[0]['mask']) == mask).all()
    assert [{key: one[key] for key in one if key != 'mask_file'} for one in told] == predictions


@pytest.mark.parametrize('name', ['长' * 80 + '.png', '.png', '../../x.png'])
def test_any_name_of_a_picture_is_safe(tmp_path, name):
    everything, *_ = write_files(tmp_path, [refused('b', 0.1, image=name)], grey(9, 9), [None])
    assert everything.is_file() and everything.parent == tmp_path

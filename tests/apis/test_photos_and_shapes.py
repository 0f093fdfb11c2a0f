"""Without named weights, scenes of RefShapes and all other images are asked of the model that was made for them."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.datasets.refshapes.scene_file import is_scene, write_scene
from mmuniqrnet.datasets.refshapes.writer import draw_scene

TEXTS = ['the left one', 'the red circle']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Files in the order scene, photograph, scene, damaged: the models take turns."""
    folder = tmp_path_factory.mktemp('images')
    for name, index in (('a.png', 0), ('c.png', 1)):
        write_scene(folder / name, draw_scene(5, 'val', index)[0])
    gradient = np.linspace(0, 255, 90 * 60 * 3).reshape(60, 90, 3).astype(np.uint8)
    cv2.imwrite(str(folder / 'b.png'), gradient)
    (folder / 'd.png').write_bytes((folder / 'a.png').read_bytes()[:60])
    return folder


@pytest.fixture(scope='module')
def ask():
    return UniQRNetInferencer(device='cpu', show_progress=False)


def test_scenes_say_what_they_are(folder):
    assert [is_scene(folder / name) for name in ('a.png', 'b.png', 'c.png', 'none.png')] == [True, False, True, False]
    with Image.open(folder / 'a.png') as picture:
        assert is_scene(picture) and not is_scene(np.asarray(picture))
    assert not is_scene(folder)
    jpeg = folder.parent / 'photo.jpg'
    Image.open(folder / 'a.png').save(jpeg)
    assert not is_scene(jpeg)


@pytest.mark.filterwarnings('ignore:the model .* does not know')
def test_each_image_is_asked_of_its_model(ask, folder, tmp_path):
    answers = ask(str(folder), [TEXTS] * 4, out_dir=tmp_path / 'out', draw=True)
    found = answers['predictions']
    assert [(answer['image_index'], answer.get('model')) for answer in found] == [
        (index, model) for index, model in enumerate(['shapes', 'photos', 'shapes', None]) for _ in TEXTS
    ]
    assert [answer['expression'] for answer in found] == TEXTS * 4
    assert all('error' in answer for answer in found[-2:])
    for model, images in (('photos', ['b.png']), ('shapes', ['a.png', 'c.png'])):
        alone = UniQRNetInferencer(weights=model, device='cpu', show_progress=False)
        expected = alone([str(folder / name) for name in images], [TEXTS] * len(images))['predictions']
        ours = [answer for answer in found if answer.get('model') == model]
        for one, other in zip(ours, expected, strict=True):
            assert one['box'] == pytest.approx(other['box'], abs=1e-3) and one['score'] == pytest.approx(other['score'])
    assert [picture is None for picture in answers['visualization']] == [False] * 6 + [True] * 2
    written = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert [answer.get('model') for answer in written['predictions']] == [answer.get('model') for answer in found]
    assert 'photographs' in written['made_for'] and 'RefShapes' in written['made_for']


@pytest.mark.filterwarnings('ignore:the model .* does not know')
def test_named_weights_answer_about_everything(folder):
    ask = UniQRNetInferencer(weights='photos', device='cpu', show_progress=False)
    found = ask(str(folder / 'a.png'), TEXTS)['predictions']
    assert [answer['model'] for answer in found] == ['photos', 'photos']

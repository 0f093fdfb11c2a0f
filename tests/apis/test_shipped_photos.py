"""The model for photographs that comes with the package, on photographs that may be redistributed."""

import json

import numpy as np
import pytest
from helpers.paths import ROOT
from PIL import Image
from safetensors import safe_open

from mmuniqrnet.apis import UniQRNetInferencer, shipped_weights

FOLDER = ROOT / 'docs' / 'tutorials' / 'photographs'
PATH = shipped_weights('photos')


@pytest.fixture(scope='module')
def ask():
    return UniQRNetInferencer(weights='photos', device='cpu', show_progress=False)


def iou(one, other):
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    inner = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return inner / (sum(areas) - inner)


def boxes():
    content = json.loads((FOLDER / 'instances.json').read_text())
    names = {category['id']: category['name'] for category in content['categories']}
    files = {image['id']: image['file_name'] for image in content['images']}
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        yield files[annotation['image_id']], names[annotation['category_id']], [x, y, x + w, y + h]


def test_the_file_is_small_and_says_what_made_it():
    assert PATH.stat().st_size <= 24e6
    with safe_open(PATH, framework='pt') as file:
        words = file.metadata()
    assert {'config', 'command', 'seed', 'figures', 'mmuniqrnet_version', 'made_for', 'words'} <= set(words)
    sets = {row['set']: row for row in json.loads(words['figures'])}
    assert {'photos/val', 'photos_several/val'} <= set(sets)
    assert not [text for text in words.values() if '/work' in text or '/tmp' in text or '/home' in text]


@pytest.mark.parametrize(('name', 'category', 'box'), [row for row in boxes() if row[1] in ('person', 'cat')])
def test_it_finds_what_is_named(ask, name, category, box):
    (answer,) = ask(str(FOLDER / name), f'the {category}')['predictions']
    assert answer['model'] == 'photos' and answer['unknown_words'] == []
    assert iou(answer['box'], box) >= 0.5


def test_it_chooses_by_side(ask):
    """Two persons side by side, one mirrored: each is found by its side."""
    person = np.asarray(Image.open(FOLDER / 'astronaut.jpg').convert('RGB'))
    both = np.hstack([person, person[:, ::-1]])
    left, right = ask(both, ['person on the left', 'person on the right'])['predictions']
    assert iou(left['box'], [14, 10, 250, 345]) >= 0.5
    assert iou(right['box'], [352 + 102, 10, 352 + 338, 345]) >= 0.5

"""The page in a real, headless Chromium, against the inferencer on the same picture."""

import json
import signal
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mmuniqrnet.models.layers.query_dynamic_attention import SpatialGate

pytest.importorskip('gradio', reason='needs gradio')
pytest.importorskip('selenium', reason='needs selenium')

from browser import WAIT, browsing, chromium_there, serving  # noqa: E402  (needs selenium)

pytestmark = [pytest.mark.web, pytest.mark.skipif(not chromium_there(), reason='needs chromium and chromedriver')]

TABLE = ('number', 'phrase', 'score', 'verdict', 'x1', 'y1', 'x2', 'y2', 'mask')


@pytest.fixture(scope='module')
def served(weights):
    with serving('--weights', str(weights), '--device', 'cpu') as served:
        yield served


@pytest.fixture(scope='module')
def browser(served, tmp_path_factory):
    with browsing(served.url, tmp_path_factory.mktemp('downloads')) as browser:
        yield browser


@pytest.fixture
def visit(browser, served):
    """The page anew."""
    browser.open(served.url)
    return browser


def ask(visit, scene, phrases):
    visit.upload(scene.path)
    visit.until(visit.picture_shown)
    visit.type('\n'.join(phrases))
    return visit.find()


def test_answers_are_the_inferencers(visit, inferencer, scene):
    phrases = scene.phrases[:2]
    expected = inferencer(str(scene.path), phrases)['predictions']
    assert 'The answers come here' in visit.one('#status').text
    assert ask(visit, scene, phrases).startswith('2 phrases asked of scene_1.png')
    rows = [dict(zip(TABLE, row)) for row in visit.rows()]
    assert [(row['number'], row['phrase'], row['verdict']) for row in rows] == [
        ('1', phrases[0], 'found'),
        ('2', phrases[1], 'found'),
    ]
    for row, answer in zip(rows, expected):
        assert float(row['score']) == pytest.approx(answer['score'], abs=0.00051)
        assert [float(row[side]) for side in ('x1', 'y1', 'x2', 'y2')] == pytest.approx(answer['box'], abs=0.051)
    shown = visit.until(lambda: visit.all('#drawn img'))[0]
    visit.until(lambda: shown.get_property('naturalWidth') > 400)

    for number, answer in enumerate(expected, 1):
        mask = np.array(Image.open(visit.downloaded(f'#table tbody tr:nth-child({number}) a')))
        assert (mask == 255 * coco_mask.decode(answer['mask'])).all()
    with zipfile.ZipFile(visit.downloaded('#everything')) as archive:
        told = json.loads(archive.read('predictions.json'))['predictions']
        assert [np.array(Image.open(archive.open(one['mask_file']))).tolist() for one in told] == [
            (255 * coco_mask.decode(answer['mask'])).tolist() for answer in expected
        ]
    assert [one['box'] for one in told] == [answer['box'] for answer in expected]
    assert [one['score'] for one in told] == [answer['score'] for answer in expected]


def test_as_many_heat_maps_as_gates(visit, inferencer, scene):
    ask(visit, scene, scene.phrases)
    assert not visit.all('#gates img')
    visit.one('#gates-on input').click()
    count = sum(isinstance(part, SpatialGate) for part in inferencer.model.modules())
    first = visit.gates(count)
    visit.until(lambda: visit.all('#gate-phrase input')[1:2])[0].click()
    second = visit.until(lambda: visit.gates(count) != first and visit.gates(count))
    for captions, phrase in zip((first, second), scene.phrases):
        gates = inferencer(str(scene.path), phrase, return_gates=True)['predictions'][0]['gates']
        assert [caption.split(': ')[1] for caption in captions] == [
            f'{values.min():.2f} to {values.max():.2f}' for values in gates.values()
        ]
    assert [caption.split(':')[0] for caption in first] == [
        'Backbone, stage 1',
        'Backbone, stage 2',
        'Backbone, stage 3',
        'Neck, level 1',
        'Neck, level 2',
    ]
    visit.one('#gates-on input').click()
    visit.until(lambda: not visit.all('#gates img'))


def test_an_example_brings_its_phrases(visit):
    visit.until(lambda: len(visit.all('#examples button')) == 6)
    visit.all('#examples button')[2].click()
    visit.until(visit.picture_shown)
    phrases = visit.until(lambda: visit.one('#phrases textarea').get_property('value')).splitlines()
    visit.find()
    assert [row[1] for row in visit.rows()] == phrases
    # the answers belong to that picture, so they go with it
    visit.all('#examples button')[0].click()
    visit.until(lambda: 'The answers come here' in visit.one('#status').text)
    assert not visit.all('#table tr')


def test_refusing_needs_no_new_question(visit, inferencer, scene):
    ask(visit, scene, scene.phrases)
    before = visit.rows()
    scores = sorted(float(row[2]) for row in before)
    threshold = next(step / 20 for step in range(21) if step / 20 > scores[0])
    visit.slide('#below input[type=number]', f'{threshold:.2f}')
    refused = visit.until(lambda: 'refused' in visit.one('#table').text and visit.rows())
    for old, new in zip(before, refused):
        if float(old[2]) < threshold:
            assert new[2:] == [old[2], f'refused, below {threshold:.2f}', *'–––––']
        else:
            assert new == old


def test_what_is_wrong_is_one_sentence(visit, scene, tmp_path):
    assert visit.find() == 'There is no picture yet: upload one, or choose an example.'
    assert ask(visit, scene, ['']) == (
        'There is no phrase yet: type what to look for, each phrase on a line of its own.'
    )
    (tmp_path / 'notes.png').write_text('no picture')
    visit.one('#picture button[aria-label="Remove Image"]').click()
    visit.upload(tmp_path / 'notes.png')
    visit.until(visit.picture_shown)
    visit.type('the circle')
    assert visit.find() == 'notes.png can not be read as a picture: save it as PNG, JPEG or WebP and upload that.'
    assert not visit.all('#table tr')


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(visit, served, tmp_path):
    with open(tmp_path / 'big.png', 'wb') as file:
        file.truncate(21 * 2**20)
    visit.upload(tmp_path / 'big.png')
    told = visit.until(lambda: visit.one('body').text if 'exceed the maximum' in visit.one('body').text else None)
    assert '20.0 Mb' in told and 'big.png' in told
    assert not [path for path in served.temporary.rglob('*') if path.is_file() and path.stat().st_size > 10 * 2**20]


def test_words_are_shown_as_words(visit, scene):
    wicked = '<img src=x onerror="document.title=1"> ${1+1} {{value}}'
    ask(visit, scene, [wicked])
    assert visit.rows()[0][1] == wicked
    assert visit.driver.title == 'mmuniqrnet'


def test_nothing_comes_from_elsewhere_and_nothing_stays(visit, browser, served):
    # the last test: it ends the page
    assert browser.hosts() == {'127.0.0.1'}
    (folder,) = served.temporary.glob('mmuniqrnet-web-*')
    assert folder.stat().st_mode & 0o77 == 0
    uploads = [path for path in served.temporary.rglob('*') if path.is_file()]
    assert uploads and all(path.is_relative_to(folder) for path in uploads)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(WAIT) == 0
    assert 'Traceback' not in served.process.stdout.read()
    assert not list(served.temporary.iterdir())

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

from helpers.browser import WAIT, browsing, chromium_there, serving
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.web, pytest.mark.skipif(not chromium_there(), reason='needs chromium and chromedriver')]

TABLE = ('number', 'phrase', 'answer', 'score', 'box', 'mask')
WICKED = '<img src=x onerror=alert(1)> ${1+1} {{1+1}} **b** <b>c</b> ![d](http://example.org/e.png)'


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
    assert ask(visit, scene, phrases).startswith('2 phrases asked in')
    rows = [dict(zip(TABLE, row)) for row in visit.rows()]
    assert [(row['number'], row['phrase']) for row in rows] == [('1', phrases[0]), ('2', phrases[1])]
    for row, answer in zip(rows, expected):
        assert row['answer'].startswith('found')
        assert float(row['score']) == pytest.approx(answer['score'], abs=0.00051)
        assert [float(side) for side in row['box'].split(', ')] == pytest.approx(answer['box'], abs=0.051)
        share = coco_mask.decode(answer['mask']).mean()
        assert float(row['mask'].rstrip('%')) == pytest.approx(100 * share, abs=0.051)
    assert [item.text for item in visit.all('#drawn .legend-item')] == [f'1: {phrases[0]}', f'2: {phrases[1]}']
    visit.until(
        lambda: all(
            max(map(image.get_property, ('naturalWidth', 'naturalHeight'))) == 1024 for image in visit.all('#drawn img')
        )
    )
    assert len(visit.all('#drawn img')) == 3  # the picture, and an annotation a phrase

    visit.one('#files button').click()
    visit.until(lambda: len(visit.all('#files a[download]')) == 4)
    for answer in expected:
        name = next(a for a in visit.all('#files a') if answer['expression'].split()[-1] in a.get_attribute('download'))
        mask = np.array(Image.open(visit.downloaded(f'#files a[download="{name.get_attribute("download")}"]')))
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
    count = sum(isinstance(part, SpatialGate) for part in inferencer.model.modules())
    visit.until(lambda: visit.all('#gate-phrase input')[2:])[0]
    visit.all('#gate-phrase input')[1].click()
    first = visit.gates(count)
    visit.all('#gate-phrase input')[2].click()
    second = visit.until(lambda: visit.gates(count) != first and visit.gates(count))
    for captions, phrase in zip((first, second), scene.phrases):
        gates = inferencer(str(scene.path), phrase, return_gates=True)['predictions'][0]['gates']
        assert captions == [
            f'{name.replace(".gates.", " ")}: {values.min():.2f} to {values.max():.2f}'
            for name, values in gates.items()
        ]
    visit.all('#gate-phrase input')[0].click()
    visit.until(lambda: not visit.all('#gates img'))


def test_an_example_brings_its_phrases(visit):
    visit.until(lambda: len(visit.all('#examples button')) == 5)
    visit.all('#examples button')[2].click()
    visit.until(visit.picture_shown)
    phrases = visit.until(lambda: visit.one('#phrases textarea').get_property('value')).splitlines()
    visit.find()
    assert [row[1] for row in visit.rows()] == phrases
    # the answers belong to that picture, so they go with it
    visit.all('#examples button')[0].click()
    visit.until(lambda: 'Choose a picture' in visit.one('#status').text)
    visit.until(lambda: not visit.all('#table'))


def test_refusing_needs_no_new_question(visit, inferencer, scene):
    ask(visit, scene, scene.phrases)
    before = visit.rows()
    scores = sorted(float(row[3]) for row in before)
    threshold = next(step / 20 for step in range(21) if step / 20 > scores[0])
    visit.slide('#below input[type=number]', f'{threshold:.2f}')
    after = visit.until(lambda: 'refused' in visit.one('#table').text and visit.rows())
    for old, new in zip(before, after):
        if float(old[3]) < threshold:
            assert new == [*old[:2], f'refused, below {threshold:.2f}', old[3], '', '']
        else:
            assert new == old
    drawn = sum(score >= threshold for score in scores)
    visit.until(lambda: len(visit.all('#drawn .legend-item')) == drawn)


def test_shift_enter_is_the_same_as_find(visit, scene):
    visit.upload(scene.path)
    visit.until(visit.picture_shown)
    visit.type(scene.phrases[0])
    visit.one('#phrases textarea').send_keys(Keys.SHIFT, Keys.ENTER)
    visit.until(lambda: '1 phrase asked' in visit.one('#status').text)


def test_what_is_wrong_is_one_sentence(visit, scene, tmp_path):
    assert visit.error_after_find() == 'There is no picture yet: upload one, or choose an example.'
    visit.upload(scene.path)
    visit.until(visit.picture_shown)
    visit.type('')
    assert visit.error_after_find() == (
        'There is no phrase yet: type what to look for, each phrase on a line of its own.'
    )
    name = '<img src=x onerror=alert(1)>.png'
    (tmp_path / name).write_text('no picture')
    visit.open(visit.driver.current_url)
    visit.upload(tmp_path / name)
    visit.until(visit.picture_shown)
    visit.type('the circle')
    told = visit.error_after_find()
    assert 'can not be read as a picture: save it as PNG, JPEG or WebP and upload that.' in told
    assert not visit.all('#table .virtual-row')


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(visit, served, tmp_path):
    with open(tmp_path / 'big.png', 'wb') as file:
        file.truncate(21 * 2**20)
    visit.upload(tmp_path / 'big.png')
    told = visit.until(lambda: visit.one('body').text if 'exceed the maximum' in visit.one('body').text else None)
    assert '20.0 Mb' in told and 'big.png' in told
    assert not [path for path in served.temporary.rglob('*') if path.is_file() and path.stat().st_size > 10 * 2**20]


def test_words_are_shown_as_words(visit, scene):
    ask(visit, scene, [WICKED])
    assert visit.rows()[0][1] == WICKED
    assert visit.one('#drawn .legend-item').text == f'1: {WICKED}'
    assert visit.all('#gate-phrase label')[1].text == f'1: {WICKED}'
    assert 'the model does not know' in visit.rows()[0][2]
    assert not visit.all('img[src=x]') and not visit.all('#results b')


# The contrast of each pair of colours in which text is shown, and where.
CONTRASTS = """
const light = colour => {
  const [r, g, b] = colour.match(/[\\d.]+/g).map(x => x / 255).map(
    x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = element => {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (!(+(colour.match(/[\\d.]+/g)[3] ?? 1) < 1)) return colour;
  }
  return 'rgb(255, 255, 255)';
};
const found = {};
for (const element of document.querySelectorAll('body *')) {
  const text = [...element.childNodes].filter(node => node.nodeType === 3).map(node => node.textContent).join('');
  if (!text.trim() || !element.offsetParent || element.closest('#drawn')) continue;
  const pair = [getComputedStyle(element).color, behind(element)];
  const [high, low] = pair.map(light).sort((a, b) => b - a);
  found[pair.join(' on ')] = [(high + 0.05) / (low + 0.05), text.trim().slice(0, 40)];
}
return found;
"""


def test_text_has_the_contrast_that_wcag_asks_for(visit, scene):
    ask(visit, scene, scene.phrases[:1])
    found = visit.driver.execute_script(CONTRASTS)
    assert len(found) >= 3 and {'Find', '1'} & {text for _, text in found.values()}
    assert not {pair: what for pair, what in found.items() if what[0] < 4.5}


def test_an_error_does_not_cover_the_status(visit):
    visit.one('#find').click()
    visit.until(lambda: visit.all('.toast-body.error'))
    assert visit.one('#status').text == 'Choose a picture, type phrases, press Find.'


def test_all_heat_maps_are_in_sight(visit, inferencer, scene):
    ask(visit, scene, scene.phrases[:1])
    visit.until(lambda: visit.all('#gate-phrase input')[1:])[0].click()
    count = len(inferencer(str(scene.path), scene.phrases[0], return_gates=True)['predictions'][0]['gates'])
    visit.gates(count)
    bottom = visit.one('#gates').rect['y'] + visit.one('#gates').rect['height']
    for item in visit.all('#gates .thumbnail-item'):
        assert item.rect['y'] + item.rect['height'] <= bottom


def test_two_visitors_at_once_each_get_their_own_answers(visit, served, scene, tmp_path):
    with browsing(served.url, tmp_path) as other:
        for one in (visit, other):
            one.upload(scene.path)
            one.until(one.picture_shown)
        visit.type(scene.phrases[0])
        other.type('\n'.join(scene.phrases[1:3]))
        for one in (visit, other):
            one.one('#find').click()
        for one, phrases in ((visit, scene.phrases[:1]), (other, scene.phrases[1:3])):
            one.until(lambda one=one: ' asked in ' in one.one('#status').text)
            assert [row[1] for row in one.rows()] == phrases
        # one visitor's threshold leaves the other's answers alone
        visit.slide('#below input[type=number]', '1')
        visit.until(lambda: 'refused' in visit.one('#table').text)
        assert all(row[2] == 'found' for row in other.rows())


def test_pictures_and_answers_are_removed_after_a_while_and_the_page_goes_on(weights, scene, tmp_path):
    mine = tmp_path / 'my_own_picture.png'
    mine.write_bytes(scene.path.read_bytes())

    def kept(served) -> list:
        return list(served.temporary.rglob('my_own_picture*'))

    with (
        serving('--weights', str(weights), '--device', 'cpu', keep=8) as served,
        browsing(served.url, tmp_path) as visit,
    ):
        visit.upload(mine)
        visit.until(visit.picture_shown)
        visit.type(scene.phrases[0])
        visit.find()
        names = {path.name for path in kept(served)}
        assert 'my_own_picture.png' in names and 'my_own_picture_answers.zip' in names
        visit.until(lambda: not any(path.is_file() for path in kept(served)), 30)
        visit.open(served.url)
        visit.all('#examples button')[0].click()
        visit.find()
        assert visit.rows()


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

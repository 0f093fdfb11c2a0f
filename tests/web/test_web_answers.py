"""What the page says, draws and gives away, without a browser and without Gradio."""

import json
import zipfile
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from web_samples import answer, make_weights, rectangle, refused

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.models.layers.query_dynamic_attention import SpatialGate
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.web.asking import BATCH_SIZE, MAX_PHRASES, ask, cut_phrases, gates_for, phrases_of, unknown_words
from mmuniqrnet.web.drawing import draw_answers, draw_gates, fit
from mmuniqrnet.web.files import write_files
from mmuniqrnet.web.palette import COLOURS
from mmuniqrnet.web.pictures import read_picture
from mmuniqrnet.web.text import answer_table, gate_figures, status_line


class Words(HTMLParser):
    """The tags and the words between them, as a browser would read them."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.words, self.links = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [dict(attrs)] if tag == 'a' else []

    def handle_data(self, data):
        self.words.append(data)


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
    answers = ask(inferencer, read_picture(scene.path), 'scene_1.png', scene.phrases)
    scores = sorted(prediction['score'] for prediction in answers.predictions)
    threshold = (scores[0] + scores[1]) / 2
    for below in (0.0, threshold):
        expected = inferencer(str(scene.path), scene.phrases, BATCH_SIZE, refuse_below=below)['predictions']
        assert answers.refusing(below) == [dict(one, image='scene_1.png') for one in expected]
    assert [one['refused'] for one in answers.refusing(threshold)].count(True) == 1


def test_words_that_mean_nothing_to_the_model(inferencer):
    assert unknown_words(inferencer, ['The red dog,', 'left Giraffe or dog', 'a 狗 (circle)']) == [
        'dog',
        'Giraffe',
        'or',
        '狗',
    ]


def test_phrases_that_the_model_reads_in_part(inferencer):
    # 16 tokens, two of them at the ends
    assert cut_phrases(inferencer, ['red ' * 14, 'red ' * 15, 'red']) == [2]
    line = Words(status_line(2, 'a.png', 1.0, cut=[1, 2]))
    assert ''.join(line.words).endswith('Too long, so that the model did not read the end: 1, 2.')


def test_gates_are_all_of_the_models(inferencer, scene):
    picture = read_picture(scene.path)
    gates = gates_for(inferencer, picture, scene.phrases[0])
    names = [name for name, part in inferencer.model.named_modules() if isinstance(part, SpatialGate)]
    assert list(gates) == [name.removesuffix('.spatial') for name in names] and len(gates) == 5
    assert all(values.shape == picture.shape[:2] for values in gates.values())


@pytest.mark.parametrize(
    'switched_off, message',
    [
        (dict(channel_gate=False, spatial_gate=False), 'has no channel or spatial gates'),
        (dict(spatial_gate=False), 'no spatial gates'),
    ],
)
def test_a_model_without_gates_says_so(tmp_path, scene, switched_off, message):
    plain = UniQRNetInferencer(weights=make_weights(tmp_path / 'plain.pth', **switched_off), show_progress=False)
    with pytest.raises((UserError, ValueError), match=message):
        gates_for(plain, read_picture(scene.path), 'the circle')


@pytest.mark.parametrize(
    'shape, shown',
    [
        ((60, 90), (480, 720)),
        ((481, 700), (481, 700)),
        ((3000, 4000), (1200, 1600)),
        ((20, 400), (120, 2400)),
    ],
)
def test_pictures_are_shown_large_enough_and_no_larger(shape, shown):
    if max(shown) > 1600:
        shown = tuple(round(side * 1600 / max(shown)) for side in shown)
    assert fit(grey(*shape)).shape[:2] == shown


@pytest.mark.parametrize('height, width', [(60, 90), (1600, 3200)])
def test_each_answer_is_drawn_in_its_colour_where_it_is(height, width):
    y, x = height // 6, width // 9
    first = answer('a', [x, y, 3 * x, 3 * y], 0.9, rectangle(height, width, x, y, 3 * x, 3 * y))
    second = refused('b', 0.1)
    third = answer('c', [5 * x, 3 * y, 8 * x, 5 * y], 0.5, rectangle(height, width, 5 * x, 3 * y, 8 * x, 5 * y))
    failed = dict(image=0, image_index=0, expression='d', error='broken')
    drawn = draw_answers(grey(height, width), [first, second, third, failed])
    scale = drawn.shape[1] / width
    assert drawn.shape[0] / height == pytest.approx(scale, rel=1e-3)
    for number, colour in enumerate(COLOURS, 1):
        rows, columns = np.nonzero((drawn == np.array(colour)).all(-1))
        if number not in (1, 3):
            assert not len(rows)
            continue
        box = np.array([first, third][number // 2]['box']) * scale
        # the number stands above or below the box
        inside = (columns >= box[0] - 4) & (columns < box[2] + 4) & (rows >= box[1] - 4) & (rows < box[3] + 4)
        ends = [columns[inside].min(), rows[inside].min(), columns[inside].max() + 1, rows[inside].max() + 1]
        assert np.abs(ends - box).max() <= 4
        centre = drawn[int((box[1] + box[3]) / 2), int((box[0] + box[2]) / 2)]
        assert np.abs(centre - (0.6 * 100 + 0.4 * np.array(colour))).max() <= 1


def test_numbers_of_equal_boxes_do_not_hide_each_other():
    same = [answer(str(i), [20, 20, 60, 40], 0.5, rectangle(60, 90, 0, 0, 0, 0)) for i in range(4)]
    alone = [
        (draw_answers(grey(60, 90), [dict(one, refused=i != j) for i, one in enumerate(same)]) == np.array(COLOURS[j]))
        .all(-1)
        .sum()
        for j in range(4)
    ]
    together = draw_answers(grey(60, 90), same)
    lines = 2 * 8 * (40 + 20) * 4  # of the box, of which the last one drawn hides the others'
    for colour, count in zip(COLOURS, alone):
        assert (together == np.array(colour)).all(-1).sum() > count - lines


def test_gate_maps_are_warm_where_the_gate_is_open():
    values = np.full((60, 90), 0.25, np.float32)
    values[:, 60:] = 0.75
    (heat, caption), (flat, _) = draw_gates(grey(60, 90), {'backbone.gates.1': values, 'odd': np.full((60, 90), 0.5)})
    assert caption == 'Backbone, stage 2: 0.25 to 0.75'
    assert heat.shape == (240, 360, 3)
    assert (heat[:, 250:, 1].min() > 150) and (heat[:, :230, 1].max() < 60)  # viridis: from dark violet to yellow
    assert (flat == flat[0, 0]).all()
    page = Words(gate_figures([(heat, caption)]))
    assert page.tags.count('img') == 1 and page.words == [caption]


def test_the_table_says_what_was_found():
    wicked = '<script>alert(1)</script> ${1+1} {{value}} & "'
    predictions = [
        answer(wicked, [1.04, 2, 30.06, 40], 0.91234, rectangle(50, 60, 1, 2, 30, 40)),
        refused('b', 0.1),
        dict(image=0, image_index=0, expression='c', error='there <is> no c'),
    ]
    table = answer_table(predictions, 0.3, [None] * 3)
    page = Words(table)
    cells = [word for word in page.words if word][8:]
    assert cells[:8] == ['1', wicked, '0.912', 'found', '1.0', '2.0', '30.1', '40.0']
    assert cells[9:18] == ['2', 'b', '0.100', 'refused, below 0.30', *'––––', '–']
    assert cells[18:21] == ['3', 'c', 'there <is> no c']
    assert 'script' not in page.tags and '${' not in table and '{{' not in table


def test_the_status_names_words_that_the_model_does_not_know():
    line = Words(status_line(1, '<b>.png', 0.25, ['dog', '<i>']))
    assert ''.join(line.words) == (
        '1 phrase asked of <b>.png, in 0.2 s. This model has no word for “dog”, “<i>”, so it can only guess.'
    )
    assert line.tags == ['p', 'strong']


def test_files_hold_the_very_masks(tmp_path):
    mask = np.random.default_rng(0).random((50, 60)) > 0.5
    predictions = [
        answer('the red/blue one', [1.0, 2.0, 30.0, 40.0], 0.9, mask, image='my photo.jpg'),
        refused('b', 0.1, image='my photo.jpg'),
    ]
    files = write_files(tmp_path / 'new', 'my photo.jpg', predictions, grey(9, 9))
    assert files.masks[1] is None
    assert (np.array(Image.open(files.masks[0])) == 255 * mask).all()
    assert files.everything.name == 'my photo_answers.zip'
    with zipfile.ZipFile(files.everything) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ['answers.png', f'masks/{files.masks[0].name}', 'predictions.json']
        told = json.loads(archive.read('predictions.json'))['predictions']
    assert told[0]['mask_file'] == f'masks/{files.masks[0].name}'
    assert (coco_mask.decode(told[0]['mask']) == mask).all()
    assert [{key: one[key] for key in one if key != 'mask_file'} for one in told] == predictions


def test_the_mask_is_in_the_tables_link(tmp_path):
    from base64 import b64decode

    mask = rectangle(50, 60, 1, 2, 30, 40)
    predictions = [answer('a', [1.0, 2.0, 30.0, 40.0], 0.9, mask)]
    files = write_files(tmp_path / 'new', 'x.png', predictions, grey(9, 9))
    (link,) = Words(answer_table(predictions, 0.0, files.masks)).links
    assert link['download'] == files.masks[0].name
    assert b64decode(link['href'].removeprefix('data:image/png;base64,')) == files.masks[0].read_bytes()


def test_a_long_name_is_no_problem(tmp_path):
    files = write_files(tmp_path / 'new', '长' * 80 + '.png', [], grey(9, 9))
    assert files.everything.is_file()

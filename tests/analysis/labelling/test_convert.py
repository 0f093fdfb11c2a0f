"""JSON Lines to each format and back; sizes, names and splits; predictions as pre-annotations."""

import json

import numpy as np
import pytest
from helpers.label_samples import HEIGHT, LINES, WIDTH, content, ring, write_samples
from PIL import Image

from mmuniqrnet.analysis.labelling import FORMATS, Options, convert
from mmuniqrnet.analysis.labelling.jsonl import read_jsonl
from mmuniqrnet.structures.masks import decode_mask, encode_mask
from mmuniqrnet.utils.errors import OverwriteError, UserError

TOOLS = [name for name in FORMATS if name != 'jsonl']


@pytest.fixture
def lines(tmp_path):
    return write_samples(tmp_path)


def there(lines, name, options=None, **given):
    """The file in another format."""
    target = lines.with_name(f'there.{name}')
    convert(lines, target, 'jsonl', name, options or Options(images=str(lines.parent), **given))
    return target


@pytest.mark.parametrize('name', TOOLS)
def test_what_goes_out_comes_back(name, lines):
    """Boxes to 1e-9 pixels, masks to the pixel, expressions in their order, splits, and what has no target."""
    back = lines.with_name('back.jsonl')
    convert(there(lines, name), back, name, 'jsonl', Options())
    assert content(back, str(lines.parent)) == content(lines, str(lines.parent))


@pytest.mark.parametrize('name', ['coco', 'label-studio', 'cvat'])
def test_polygons_stay_polygons(name, lines):
    back = lines.with_name('back.jsonl')
    convert(there(lines, name), back, name, 'jsonl', Options())
    (found,) = [one for one in read_jsonl(back) if one.expressions == ['a handle in two pieces']]
    np.testing.assert_allclose(found.mask[1], LINES[2]['mask'][1], rtol=0, atol=1e-9)


@pytest.mark.parametrize('name', TOOLS)
def test_prefixes_and_split(name, lines):
    """A tool may know the images by addresses."""
    out = there(lines, name, add_prefix='s3://x/')
    back = lines.with_name('back.jsonl')
    with pytest.raises(UserError, match='the image s3://x/.* does not begin with s3://y/'):
        convert(out, back, name, 'jsonl', Options(strip_prefix='s3://y/'))
    convert(out, back, name, 'jsonl', Options(strip_prefix='s3://x/', split='test'))
    assert {row[:2] for row in content(back)} == {(name, 'test') for name in ('a/1.png', '2 b.png', '3.png')}


def test_addresses_of_local_files_in_label_studio_are_quoted(lines):
    prefix = '/data/local-files/?d='
    out = there(lines, 'label-studio', add_prefix=f'{prefix}my%20set/')
    assert f'"{prefix}my%20set/2%20b.png"' in out.read_text()
    for strip, names in (('', 'my set/{}'), (f'{prefix}my%20set/', '{}')):
        back = lines.with_name(f'{len(strip)}.jsonl')
        convert(out, back, 'label-studio', 'jsonl', Options(strip_prefix=strip))
        assert {row[0] for row in content(back)} == {names.format(name) for name in ('a/1.png', '2 b.png', '3.png')}


def test_sizes_are_taken_from_images_and_compared_with_them(lines):
    path = lines.with_name('box.jsonl')
    path.write_text(json.dumps(dict(image='3.png', expressions='x', bbox=[1, 2, 3, 4])))
    with pytest.raises(UserError, match='line 1: the size of the image 3.png is not known: give the folder of images'):
        convert(path, lines.with_name('out.json'), 'jsonl', 'label-studio', Options())
    out = lines.with_name('out.json')
    convert(path, out, 'jsonl', 'cvat', Options(images=str(lines.parent)))
    Image.fromarray(np.zeros((WIDTH, HEIGHT), np.uint8)).save(lines.with_name('3.png'))
    with pytest.raises(UserError, match='the image 3.png has 37x53 pixels, not 53x37'):
        convert(out, lines.with_name('back.jsonl'), 'cvat', 'jsonl', Options(images=str(lines.parent)))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.zeros((WIDTH, HEIGHT), np.uint8)).save(lines.with_name('3.png'), exif=turned)
    with pytest.raises(UserError, match='37x53 pixels, not 53x37: it is shown turned by its EXIF orientation'):
        convert(out, lines.with_name('back.jsonl'), 'cvat', 'jsonl', Options(images=str(lines.parent)))


def test_nothing_is_replaced_and_bad_lines_are_named(lines):
    mine = lines.with_name('mine')
    mine.write_text('mine')
    with pytest.raises(OverwriteError, match='mine exists already'):
        convert(lines, mine, 'jsonl', 'coco', Options())
    with pytest.raises(OverwriteError, match='lines.jsonl is also read'):
        convert(lines, lines, 'jsonl', 'coco', Options(), overwrite=True)
    bad = lines.with_name('bad.jsonl')
    bad.write_text('{"image": "3.png", "expressions": [], "bbox": [1, 2, 3, 4]}\n')
    with pytest.raises(UserError, match=r'bad.jsonl has 1 problem\(s\): line 1: "expressions" should be'):
        convert(bad, lines.with_name('x'), 'jsonl', 'coco', Options())
    assert not lines.with_name('x').exists()


@pytest.mark.parametrize('name', ['coco', 'label-studio', 'cvat', 'fiftyone'])
def test_objects_without_expression_are_refused_or_counted(name, lines):
    out = there(lines, name)
    text = out.read_text()
    for written in ('"a jug"', '>a jug<'):
        text = text.replace(written, written.replace('a jug', ' '))
    out.write_text(text)
    back = lines.with_name('back.jsonl')
    with pytest.raises(UserError, match=f'there.{name}, .* has no expression: write one, or leave such objects out'):
        convert(out, back, name, 'jsonl', Options())
    objects, notes = convert(out, back, name, 'jsonl', Options(skip_unnamed=True))
    assert notes == ['1 object(s) without expression are left out'] and len(objects) == len(LINES) - 1


@pytest.fixture
def asked(lines):
    """Predictions for three expressions: a box and a mask, nothing, and the best of two boxes that reach outside."""
    ask = [
        dict(dataset='d', split='val', sent_id=n, img_path='x/3.png', text=f'text {n}', height=HEIGHT, width=WIDTH)
        for n in range(4)
    ]
    found = [
        dict(sent_id=0, box=[1, 2, 30, 20], mask=encode_mask(ring()), score=0.9),
        dict(sent_id=1, box=None),
        dict(sent_id=2, boxes=[[0, 0, 1, 1], [-3, 2, 60, 20]], scores=[0.2, 0.7]),
    ]
    for name, rows in (('ask', ask), ('found', found)):
        lines.with_name(f'{name}.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return lines.with_name('found.jsonl')


def test_predictions_become_pre_annotations(asked):
    options = Options(questions=str(asked.with_name('ask.jsonl')), strip_prefix='x/', images=str(asked.parent))
    for name in FORMATS:
        out = asked.with_name(f'pre.{name}')
        objects, notes = convert(asked, out, 'predictions', name, options)
        assert [(one.image, one.expressions, one.score) for one in objects] == [
            ('3.png', ['text 0'], 0.9),
            ('3.png', ['text 2'], 0.7),
        ]
        assert [one.box for one in objects] == [[1, 2, 30, 20], [0, 2, WIDTH, 20]]
        assert notes[0] == '2 expression(s) without box and mask are left out'
        assert ('scores: they are not written' in notes[-1]) == (name in ('jsonl', 'cvat'))
    (task,) = json.loads(asked.with_name('pre.label-studio').read_text())
    assert 'annotations' not in task and task['predictions'][0]['score'] == pytest.approx(0.8)
    regions = [result for result in task['predictions'][0]['result'] if 'score' in result]
    assert [(one['type'], one['score']) for one in regions] == [
        ('rectanglelabels', 0.9),
        ('brushlabels', 0.9),
        ('rectanglelabels', 0.7),
    ]
    (sample,) = json.loads(asked.with_name('pre.fiftyone').read_text())['samples']
    assert [one['confidence'] for one in sample['predictions']['detections']] == [0.9, 0.7]
    assert [one['score'] for one in json.loads(asked.with_name('pre.coco').read_text())['annotations']] == [0.9, 0.7]
    assert asked.with_name('pre.cvat').read_text().count('source="auto"') == 3
    (first, _) = read_jsonl(asked.with_name('pre.jsonl'))
    assert (decode_mask(first.mask, HEIGHT, WIDTH) == ring()).all()


def test_predictions_need_their_expressions(asked):
    out = asked.with_name('out')
    with pytest.raises(UserError, match='predictions need the expressions: --questions'):
        convert(asked, out, 'predictions', 'coco', Options())
    with pytest.raises(UserError, match='--questions is for predictions, not for jsonl'):
        convert(asked, out, 'jsonl', 'coco', Options(questions='x'))
    with pytest.raises(UserError, match='found.jsonl, line 1: this is no line that mmuniqrnet score --questions'):
        convert(asked, out, 'predictions', 'coco', Options(questions=str(asked)))


def test_answers_of_the_inferencer_become_pre_annotations(lines):
    mask = encode_mask(ring())
    answer = dict(image='3.png', image_index=0, expression='a', size=[HEIGHT, WIDTH], frame='upright', refused=False)
    answers = [
        dict(answer, box=[1.0, 2.0, 30.0, 20.0], score=0.5, mask=mask),
        dict(answer, box=None, score=0.1, mask=None, refused=True),
        dict(image='3.png', image_index=0, expression='b', error='broken'),
    ]
    path = lines.with_name('predictions.json')
    path.write_text(json.dumps(dict(made_for='shapes', predictions=answers)))
    objects, notes = convert(path, lines.with_name('out'), 'answers', 'label-studio', Options(images=str(lines.parent)))
    assert [(one.expressions, one.box, one.mask, one.score) for one in objects] == [
        (['a'], [1.0, 2.0, 30.0, 20.0], mask, 0.5)
    ]
    assert notes == ['2 answer(s) without box and mask are left out']
    turned = Image.Exif()
    turned[0x0112] = 3
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(lines.with_name('3.png'), exif=turned)
    with pytest.raises(UserError, match='answer 0 is about .*3.png as it is shown, turned by its EXIF orientation 3'):
        convert(path, lines.with_name('new'), 'answers', 'jsonl', Options(images=str(lines.parent)))
    for name in FORMATS:  # the files are looked at where the answers say that they are
        path.write_text(json.dumps(dict(predictions=[dict(answers[0], image=str(lines.with_name('3.png')))])))
        with pytest.raises(UserError, match='answer 0 is about .*3.png as it is shown, .* EXIF orientation 3'):
            convert(path, lines.with_name('new'), 'answers', name, Options(strip_prefix=f'{lines.parent}/'))
    path.write_text('{"predictions": [{"image": 3}]}')
    with pytest.raises(UserError, match='answer 0 has no path of an image'):
        convert(path, lines.with_name('new'), 'answers', 'jsonl', Options())


def test_answers_about_images_that_cannot_be_seen_are_refused(lines, monkeypatch):
    answer = dict(image='3.png', expression='a', size=[HEIGHT, WIDTH], frame='upright', box=[1.0, 2.0, 30.0, 20.0])
    path, out = lines.with_name('predictions.json'), lines.with_name('out.jsonl')
    path.write_text(json.dumps(dict(predictions=[answer])))
    with pytest.raises(
        UserError, match=r'answer 0 .*the image 3.png does not exist.*: give the folder .*\(--images DIR'
    ):
        convert(path, out, 'answers', 'jsonl', Options())
    monkeypatch.chdir(lines.parent)  # where 3.png is, without an orientation
    convert(path, out, 'answers', 'jsonl', Options())
    assert [one.box for one in read_jsonl(out)] == [answer['box']]
    path.write_text(json.dumps(dict(predictions=[dict(answer, image='gone.png', frame='stored')])))
    convert(path, out, 'answers', 'jsonl', Options(), overwrite=True)
    assert [one.image for one in read_jsonl(out)] == ['gone.png']


def test_expressions_may_contain_characters_that_end_lines_elsewhere(asked):
    text = 'a\u2028b\u2029c\x85d'
    ids = dict(dataset='d', split='val', img_path='3.png', height=HEIGHT, width=WIDTH)
    ask = ''.join(json.dumps(dict(ids, sent_id=n, text=text), ensure_ascii=False) + '\n\n' for n in (0, 2))
    asked.with_name('ask.jsonl').write_text(ask + ' \n', encoding='utf-8-sig')
    asked.write_text(json.dumps(dict(sent_id=2, box=[1, 2, 30, 20])))
    objects, _ = convert(
        asked, asked.with_name('out'), 'predictions', 'jsonl', Options(questions=str(asked.with_name('ask.jsonl')))
    )
    assert [one.expressions for one in objects] == [[text]]
    with asked.with_name('ask.jsonl').open('a') as file:
        file.write('{}\n')
    with pytest.raises(UserError, match='ask.jsonl, line 6: this is no line that'):
        convert(
            asked, asked.with_name('new'), 'predictions', 'jsonl', Options(questions=str(asked.with_name('ask.jsonl')))
        )


def test_predictions_without_area_in_the_image_are_told(asked):
    rows = [dict(sent_id=0, box=[60, 2, 80, 20]), dict(sent_id=1, box=[60, 2, 80, 20], mask=encode_mask(ring()))]
    asked.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    options = Options(questions=str(asked.with_name('ask.jsonl')))
    objects, notes = convert(asked, asked.with_name('out'), 'predictions', 'coco', options)
    assert [(one.expressions, one.box) for one in objects] == [(['text 1'], [10, 10, WIDTH, HEIGHT])]
    assert 'expression 0: the box has no area inside the image and is left out' in ' '.join(notes)
    asked.write_text(json.dumps(rows[0]))
    with pytest.raises(UserError, match='has no object with an expression'):
        convert(asked, asked.with_name('new'), 'predictions', 'coco', options)


def test_a_mask_of_another_size_than_its_image_is_named(lines):
    path = lines.with_name('predictions.json')
    answer = dict(image='3.png', expression='a', size=[20, 20], frame='stored', mask=encode_mask(ring()))
    path.write_text(json.dumps(dict(predictions=[answer])))
    with pytest.raises(UserError, match=r'answer 0: its mask has size \[37, 53\] .*, but the image has 20x20 pixels'):
        convert(path, lines.with_name('out'), 'answers', 'cvat', Options())

"""The files that JSON Lines name: turned photographs, images and masks that are cut off, paths of Windows."""

import json
import os

import numpy as np
import pytest
from helpers.tools import run_dataset_tool
from PIL import Image

from mmuniqrnet.datasets.jsonl import ReferJsonlDataset, read_and_validate, validate_jsonl
from mmuniqrnet.datasets.jsonl_validation import different_boxes
from mmuniqrnet.structures.masks import encode_mask

W, H = 320, 240
NOISE = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    Image.fromarray(NOISE).save(tmp_path / 'images' / 'a.jpg')
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for suffix in ('jpg', 'png'):
            Image.fromarray(NOISE).save(tmp_path / 'images' / f'{orientation}.{suffix}', exif=exif)
    return tmp_path


def line(image='a.jpg', expressions='the cup', **changes):
    return dict(dict(image=image, expressions=expressions, bbox=[10, 20, 100, 200]), **changes)


def write(folder, *lines, joint='\n'):
    path = folder / 'data.jsonl'
    path.write_text(joint.join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    return str(path)


def check(folder, *lines):
    return read_and_validate(write(folder, *lines), str(folder / 'images'), None, True, whole=True)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_turned_photographs_are_named_once(folder, orientation, suffix):
    name = f'{orientation}.{suffix}'
    found = check(folder, line(name), line(name, 'the jug', bbox=[0, 0, W, H]))
    assert found.problems == []
    assert len(found.notes) == (orientation != 1)
    if orientation != 1:
        assert f'line 1: {folder}/images/{name} has EXIF orientation {orientation}' in found.notes[0]
        assert 'the stored pixels (320x240)' in found.notes[0]


@pytest.mark.parametrize(
    'drawn',
    [
        dict(bbox=[0, 0, H, W]),
        dict(bbox=[0, 0, 10, 10], width=H, height=W),
        dict(mask=[[0, 0, H, 0, H, W]]),
        dict(mask=dict(size=[W, H], counts=[100, W * H - 100])),
        dict(mask='mask.png'),
    ],
    ids=['box', 'size', 'polygons', 'RLE', 'PNG'],
)
def test_what_was_drawn_on_the_upright_picture_is_said(folder, drawn):
    Image.new('L', (H, W), 255).save(folder / 'images' / 'mask.png')
    hint = 'it fits with width and height exchanged: .*6.jpg is shown turned by its EXIF orientation 6'
    with pytest.raises(ValueError, match=hint):
        ReferJsonlDataset(write(folder, line('6.jpg', **drawn)), data_prefix=dict(img_path=str(folder / 'images')))
    for name, turned in (('6.jpg', True), ('3.jpg', False), ('a.jpg', False)):
        [problem] = check(folder, line(name, **drawn)).problems
        assert ('fits with width and height exchanged' in problem.reason) == turned
    [problem] = check(folder, line('6.jpg', bbox=[0, 0, W, W])).problems  # fits neither
    assert 'exchanged' not in problem.reason


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize('share', [0.95, 0.5, 0.1, 0])
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'webp'])
def test_an_image_that_is_cut_off_is_a_problem(folder, suffix, share):
    path = folder / 'images' / f'cut.{suffix}'
    Image.fromarray(NOISE).save(path)
    assert check(folder, line(path.name)).problems == []
    cut(path, share)
    [problem] = check(folder, line(), line(path.name, 'the jug')).problems
    assert problem.line == 2 and f'{path} is not a readable image' in problem.reason


def test_a_mask_that_is_cut_off_is_a_problem(folder):
    path = folder / 'images' / 'mask.png'
    Image.fromarray(NOISE[..., 0] > 127).save(path)
    assert check(folder, line(mask='mask.png')).problems == []
    cut(path, 0.6)
    [problem] = check(folder, line(mask='mask.png')).problems
    assert f'{path} is not a readable mask' in problem.reason


def test_many_files_give_the_same_problems_in_the_order_of_the_lines(folder):
    lines = []
    for number in range(40):
        path = folder / 'images' / f'n{number}.jpg'
        Image.fromarray(NOISE).save(path)
        lines.append(line(path.name, f'cup {number}'))
        if number % 3 == 0:
            cut(path, 0.5)
    found = check(folder, *lines)
    assert [problem.line for problem in found.problems] == list(range(1, 41, 3))
    assert check(folder, *lines) == found


def test_a_progress_bar_is_shown_on_terminals_only(folder, monkeypatch, capsys):
    check(folder, line())
    assert capsys.readouterr().err == ''
    monkeypatch.setattr('sys.stderr.isatty', lambda: True, raising=False)
    check(folder, line())
    assert '1/1' in capsys.readouterr().err


@pytest.mark.parametrize('joint', ['\n', '\r\n'])
def test_byte_order_marks_and_line_ends_of_windows(folder, joint):
    one = '\ufeff' + json.dumps(line())
    path = write(folder, one, one.replace('the cup', 'a cup'), joint=joint)  # two files, one after the other
    assert validate_jsonl(path, str(folder / 'images')) == []


def test_utf16_is_said(folder):
    (folder / 'data.jsonl').write_bytes(json.dumps(line()).encode('utf-16'))
    [problem] = validate_jsonl(str(folder / 'data.jsonl'))
    assert 'UTF-16; save the file as UTF-8' in problem.reason


@pytest.mark.skipif(os.name == 'nt', reason='these are paths there')
@pytest.mark.parametrize(
    'written, reason',
    [
        (line('cups\\a.jpg'), 'has backslashes, as on Windows; write paths with /'),
        (line('C:/cups/a.jpg'), 'begins with a Windows drive letter'),
        (line('cups\new.jpg'), 'has a control character'),
        (json.dumps(line('X')).replace('X', 'cups\\cup.jpg'), r'Invalid \\escape at column .*write paths with /'),
        (line(mask='masks\\a.png'), 'has backslashes, as on Windows'),
    ],
)
def test_paths_of_windows_are_said(folder, written, reason):
    with pytest.raises(ValueError, match=f'line 1: .*{reason}'):
        ReferJsonlDataset(write(folder, written), data_prefix=dict(img_path=str(folder / 'images')))
    assert len(validate_jsonl(write(folder, written), str(folder / 'images'))) == 1


def test_a_backslash_in_a_name_that_exists_is_no_mistake(folder):
    if os.name == 'nt':
        pytest.skip('no name there')
    Image.fromarray(NOISE).save(folder / 'images' / 'x\\a.jpg')
    assert check(folder, line('x\\a.jpg')).problems == []


def test_boxes_less_than_a_pixel_outside_are_clipped_and_counted(folder):
    lines = [line(bbox=[-0.5, -0.5, W + 0.5, H + 0.5]), line(expressions='b', bbox=[0, 0, W + 0.005, H])]
    dataset = ReferJsonlDataset(write(folder, *lines), data_prefix=dict(img_path=str(folder / 'images')))
    assert [item['instances'][0]['bbox'] for item in dataset] == [[0, 0, W, H], [0, 0, W + 0.005, H]]
    found = check(folder, *lines)
    assert found.problems == []
    assert found.notes == ['1 box(es) reach less than a pixel outside their image and are clipped']
    around = ReferJsonlDataset(
        write(folder, dict(image='a.jpg', expressions='x', mask=[[-0.5, -0.5, W + 0.5, -0.5, W + 0.5, H + 0.5]])),
        data_prefix=dict(img_path=str(folder / 'images')),
    )
    assert around[0]['instances'][0]['bbox'] == [0, 0, W, H]


def test_one_expression_for_two_objects_of_one_image(folder):
    other = dict(bbox=[0, 0, 5, 5])
    found = check(
        folder,
        line(expressions=['The  cup', 'the cup']),
        line(expressions='the CUP '),  # the same object
        line('./a.jpg', expressions=['it', ' the cup'], **other),
        line('1.jpg', expressions='the cup', **other),
        line(expressions='the zebra'),
        dict(image='a.jpg', expressions='the zebra', no_target=True),
    )
    assert found.problems == [] and len(found.notes) == 2
    assert found.notes[0].startswith('line 3: the expression "the cup" is given to another object of ./a.jpg in line 1')
    assert found.notes[1].startswith('line 6: the expression "the zebra"')


@pytest.mark.parametrize('kind', ['polygons', 'RLE', 'PNG'])
def test_a_box_that_hardly_overlaps_its_mask_is_noted(folder, kind):
    pixels = np.zeros((H, W), bool)
    pixels[60:160, 40:140] = True
    Image.fromarray(pixels).save(folder / 'images' / 'mask.png')
    polygons = [[40, 60, 140, 60, 140, 160, 40, 160]]
    mask = dict(polygons=polygons, RLE=encode_mask(pixels), PNG='mask.png')[kind]
    found = check(
        folder,
        line(mask=mask, bbox=[40, 60, 100, 100]),  # x, y, width, height
        line(expressions='b', mask=mask, bbox=[40, 60, 140, 161]),
        line(expressions='c', mask=mask, bbox=[40, 60, 240, 159]),  # IoU 0.495
        line(expressions='d', mask=mask, bbox=[40, 60, 235, 160]),  # IoU 0.51
        dict(image='a.jpg', expressions='e', mask=mask),
        line(expressions='f', bbox=[0, 0, 5, 5]),
        dict(image='a.jpg', expressions='g', no_target=True),
    )
    assert found.problems == []
    notes = different_boxes(found.records)
    assert [note.split(':')[0] for note in notes] == ['line 1', 'line 3']
    assert notes[0] == (
        'line 1: "bbox" [40.0, 60.0, 100.0, 100.0] and "mask", whose box is [40.0, 60.0, 140.0, 160.0], differ (IoU '
        '0.24); "bbox" should be [x1, y1, x2, y2]: is it x, y, width, height?'
    )


def test_many_boxes_of_another_format_are_counted(folder):
    mask = [[40, 60, 140, 60, 140, 160, 40, 160]]
    lines = [line(expressions=f'object {i}', mask=mask, bbox=[40, 60, 100, 100]) for i in range(8)]
    notes = different_boxes(check(folder, *lines).records)
    assert [note.split(':')[0] for note in notes[:5]] == [f'line {i}' for i in range(1, 6)]
    assert notes[5:] == ['3 more line(s) whose "bbox" and "mask" differ']


@pytest.mark.parametrize(
    'counts, reason',
    [([100, 500], 'add up to 600 pixels'), ("b'abc'", 'bytes written as text'), ('~', 'other characters')],
)
def test_rle_that_does_not_fill_its_size(folder, counts, reason):
    mask = dict(size=[H, W], counts=counts)
    for lines in ([line(mask=mask)], [dict(image='a.jpg', expressions='x', mask=mask)]):
        [problem] = validate_jsonl(write(folder, *lines), open_images=False)
        assert reason in problem.reason


def test_a_key_that_is_given_twice(folder):
    text = json.dumps(line())[:-1] + ', "bbox": [0, 0, 1, 1]}'
    [problem] = validate_jsonl(write(folder, text), str(folder / 'images'))
    assert problem.reason == 'the key "bbox" is given twice in one object'


def test_tool_says_notes_and_exits_with_0(folder, capsys):
    assert run_dataset_tool('validate', write(folder, line('6.jpg')), '--images', folder / 'images') == 0
    said = capsys.readouterr().out
    assert 'note: line 1: ' in said and 'EXIF orientation 6' in said and 'no problems, 1 note(s)' in said

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_utils

from mmuniqrnet.datasets.jsonl import ReferJsonlDataset, validate_jsonl
from mmuniqrnet.structures.masks import to_rle

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / 'shared' / 'data'
W, H = 8, 6
BLOCK = np.zeros((H, W), np.uint8, order='F')
BLOCK[1:4, 2:6] = 1
COMPRESSED = mask_utils.encode(BLOCK)
COMPRESSED['counts'] = COMPRESSED['counts'].decode()
MASKS = dict(
    polygons=[[2, 1, 6, 1, 6, 4, 2, 4]],
    uncompressed=dict(size=[H, W], counts=[13, 3, 3, 3, 3, 3, 3, 3, 14]),
    compressed=COMPRESSED,
    png='block.png',
)
GOOD = dict(image='a.png', expressions=['The cup'], bbox=[0, 0, W, H])


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / 'images'
    images.mkdir()
    Image.new('RGB', (W, H)).save(images / 'a.png')
    Image.fromarray(np.asarray(BLOCK) * 255).save(images / 'block.png')
    Image.fromarray(np.asarray(BLOCK[:, :-1])).save(images / 'narrow.png')
    Image.new('L', (W, H)).save(images / 'empty.png')
    Image.new('RGBA', (W, H)).save(images / 'alpha.png')
    (images / 'broken.png').write_bytes(b'no image')
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated, W and H exchanged
    Image.new('RGB', (W, H)).save(images / 'rotated.jpg', exif=exif)
    return tmp_path


def write(folder, *lines):
    path = folder / 'data.jsonl'
    path.write_text('\n'.join(line if isinstance(line, str) else json.dumps(line) for line in lines) + '\n')
    return path


def read(folder, *lines, **options):
    return ReferJsonlDataset(
        str(write(folder, *lines)), data_root=str(folder), data_prefix=dict(img_path='images'), **options
    )


def test_one_item_per_expression(folder):
    dataset = read(folder, dict(GOOD, expressions=[' The cup ', 'it']), '', dict(GOOD, expressions='one'))
    assert [(item['text'], item['sent_id'], item['ref_id']) for item in dataset] == [
        ('The cup', '1_0', 1),
        ('it', '1_1', 1),
        ('one', '3_0', 3),
    ]
    item = dataset[0]
    assert item['img_path'] == str(folder / 'images' / 'a.png')
    assert (item['width'], item['height'], item['dataset'], item['split']) == (W, H, 'custom', 'train')
    assert item['instances'] == [dict(bbox=[0.0, 0.0, W, H], bbox_label=0, ignore_flag=0)]


@pytest.mark.parametrize('mask', MASKS.values(), ids=MASKS)
def test_masks_of_every_kind_and_boxes_from_them(folder, mask):
    dataset = read(folder, dict(GOOD, mask=mask), dict(image='a.png', expressions='x', mask=mask))
    for item in dataset:
        assert (mask_utils.decode(to_rle(item['instances'][0]['mask'], H, W)) == BLOCK).all()
    assert dataset[0]['instances'][0]['bbox'] == [0, 0, W, H]
    assert dataset[1]['instances'][0]['bbox'] == [2, 1, 6, 4]


def test_masks_in_a_folder_of_their_own(folder):
    (folder / 'masks').mkdir()
    (folder / 'images' / 'block.png').rename(folder / 'masks' / 'a.png')
    path = write(folder, dict(GOOD, mask='a.png'))
    prefix = dict(img_path='images', mask_path='masks')
    dataset = ReferJsonlDataset(str(path), data_root=str(folder), data_prefix=prefix)
    assert (mask_utils.decode(dataset[0]['instances'][0]['mask']) == BLOCK).all()
    assert not validate_jsonl(str(path), str(folder / 'images'), str(folder / 'masks'))


def test_expressions_that_fit_nothing(folder):
    nothing = dict(image='a.png', expressions=['the zebra', 'a jug'], no_target=True)
    dataset = read(folder, GOOD, nothing, dict(GOOD, expressions='x', no_target=False))
    assert [(item['text'], len(item['instances'])) for item in dataset] == [
        ('The cup', 1),
        ('the zebra', 0),
        ('a jug', 0),
        ('x', 1),
    ]
    assert dataset[1]['instances'] == [] and (dataset[1]['width'], dataset[1]['height']) == (W, H)
    assert dataset[3]['instances'] == [dict(bbox=[0.0, 0.0, W, H], bbox_label=0, ignore_flag=0)]
    kept = read(folder, GOOD, nothing, filter_cfg=dict(filter_empty_gt=True))
    assert [item['text'] for item in kept] == ['The cup']


def test_splits(folder):
    lines = [dict(GOOD, split='train', expressions='a'), dict(GOOD, split='val', expressions='b')]
    assert [item['text'] for item in read(folder, *lines, split='val')] == ['b']
    assert [item['split'] for item in read(folder, *lines, split=['val', 'train'])] == ['train', 'val']
    with pytest.raises(ValueError, match="has no split 'test'; it has 'train', 'val'"):
        read(folder, *lines, split='test')
    assert read(folder, GOOD, split='test')[0]['split'] == 'test'
    with pytest.raises(ValueError, match='cannot be train and val'):
        read(folder, GOOD, split=['train', 'val'])


def test_boxes_refer_to_the_stored_pixels(folder):
    wide = dict(GOOD, image='rotated.jpg')
    assert read(folder, wide)[0]['width'] == W
    [problem] = validate_jsonl(str(write(folder, dict(wide, bbox=[0, 0, H, W]))), str(folder / 'images'))
    assert 'outside the image of 8x6 pixels' in problem.reason


BAD = {
    'not JSON': ('{"image": ', 'not JSON'),
    'no object': ('[1]', 'not a JSON object'),
    'no image key': (dict(expressions='a', bbox=[0, 0, 1, 1]), '"image" is missing'),
    'no expressions': (dict(image='a.png', bbox=[0, 0, 1, 1]), '"expressions" is missing'),
    'no target': (dict(image='a.png', expressions='a'), 'both "bbox" and "mask" are missing.*give "no_target": true'),
    'no target, yet a box': (dict(GOOD, no_target=True), '"no_target" is true, but a "bbox" or "mask" is given'),
    'no target as null': (dict(GOOD, no_target=None), '"no_target" should be true or false'),
    'unknown key': (dict(GOOD, bboxes=[]), 'unknown key "bboxes"'),
    'no image': (dict(GOOD, image='b.png'), 'b.png does not exist'),
    'broken image': (dict(GOOD, image='broken.png'), 'not a readable image'),
    'empty expression': (dict(GOOD, expressions=['a', ' ']), 'empty expression'),
    'empty expressions': (dict(GOOD, expressions=[]), 'at least one string'),
    'half a surrogate pair': (
        dict(GOOD, expressions=['a', 'the \ud83d dog']),
        r"the expression 'the \\ud83d dog' is not valid Unicode \(an emoji that was cut in two\?\)",
    ),
    'expression number': (dict(GOOD, expressions=[1]), 'a string or a list'),
    'box of three': (dict(GOOD, bbox=[0, 0, 1]), 'four numbers'),
    'box of text': (dict(GOOD, bbox=['0', 0, 1, 1]), 'four numbers'),
    'box NaN': ('{"image": "a.png", "expressions": "a", "bbox": [0, 0, NaN, 1]}', 'four numbers'),
    'box beyond float': (dict(GOOD, bbox=[0, 0, 10**400, 1]), 'four numbers'),
    'number of many digits': (
        f'{{"image": "a.png", "expressions": "a", "bbox": [0, 0, {"1" * 5000}, 1]}}',
        'the number at column 55 has 5000 digits: correct it',
    ),
    'xywh box': (dict(GOOD, bbox=[4, 3, 2, 2]), 'no area'),
    'box outside': (dict(GOOD, bbox=[0, 0, W + 1, H]), r'outside the image of 8x6 pixels'),
    'box negative': (dict(GOOD, bbox=[-1, 0, W, H]), r'outside the image'),
    'polygon of two points': (dict(GOOD, mask=[[0, 0, 1, 1]]), 'three points'),
    'flat polygon': (dict(GOOD, mask=[0, 0, 1, 1, 2, 2]), 'list of lists'),
    'polygon outside': (dict(GOOD, mask=[[0, 0, 9, 0, 9, 3]]), 'extent of "mask".*outside'),
    'polygon without a pixel': (dict(GOOD, mask=[[3, 3, 3.2, 3, 3.2, 3.2]]), '"mask" covers no pixel'),
    'only mask, without a pixel': (
        dict(image='a.png', expressions='a', mask=[[3, 3, 3.2, 3, 3.2, 3.2]]),
        '"mask" covers no pixel',
    ),
    'rle size': (dict(GOOD, mask=dict(size=[W, H], counts=[40, 8])), r'size \[8, 6\] \(height, width\)'),
    'rle counts': (dict(GOOD, mask=dict(size=[H, W], counts=[40, 9])), 'add up to 49'),
    'rle empty': (dict(GOOD, mask=dict(size=[H, W], counts=[48])), '"mask" is empty'),
    'rle garbage': (dict(GOOD, mask=dict(size=[H, W], counts='~~~~')), 'not a valid RLE'),
    'rle keys': (dict(GOOD, mask=dict(size=[H, W])), 'should have "counts"'),
    'mask null': (dict(GOOD, mask=None), 'polygons, an RLE, or the path'),
    'mask missing': (dict(GOOD, mask='none.png'), 'none.png does not exist'),
    'mask narrow': (dict(GOOD, mask='narrow.png'), 'narrow.png has 7x6 pixels'),
    'mask with alpha': (dict(GOOD, mask='alpha.png'), 'alpha.png.*mode RGBA'),
    'mask empty': (dict(image='a.png', expressions='a', mask='empty.png'), 'empty.png is empty'),
    'mask jpeg': (dict(GOOD, mask='block.jpg'), 'should be a PNG'),
    'width': (dict(GOOD, width=W, height=H + 1), '8x7, but the image has 8x6'),
    'width only': (dict(GOOD, width=W), 'both be given'),
    'split': (dict(GOOD, split=1), '"split" should be a string'),
}


@pytest.mark.parametrize('line, reason', BAD.values(), ids=BAD)
def test_bad_line_is_named_with_its_reason_and_refused(folder, line, reason):
    path = write(folder, GOOD, line, GOOD)
    [problem] = validate_jsonl(str(path), str(folder / 'images'))
    assert problem.line == 2
    with pytest.raises(ValueError, match=f'data.jsonl has 1 problem.*line 2: .*{reason}'):
        read(folder, GOOD, line, GOOD)


def test_all_problems_of_all_lines(folder):
    bad = dict(image='b.png', expressions='', bbox=[0, 0])
    path = write(folder, bad, GOOD, dict(GOOD, split='val'), *['{'] * 9)
    problems = validate_jsonl(str(path), str(folder / 'images'))
    assert [problem.line for problem in problems] == [1, 1, 1, 2, *range(4, 13)]
    assert problems[3].reason == '"split" is missing, but other lines have it'
    with pytest.raises(ValueError, match=r'13 problem\(s\).*line 1: .*line 4: [^;]*; and 8 more'):
        read(folder, bad, GOOD, dict(GOOD, split='val'), *['{'] * 9)


def test_empty_mask_file_behind_a_box(folder):
    """Reading the data set opens headers only; the validator reads masks whole, and so does an item."""
    path = write(folder, dict(GOOD, mask='empty.png'))
    [problem] = validate_jsonl(str(path), str(folder / 'images'))
    assert 'empty.png is empty' in problem.reason
    with pytest.raises(ValueError, match='empty.png is empty'):
        read(folder, dict(GOOD, mask='empty.png'))[0]


def test_without_images(folder):
    line = dict(GOOD, image='elsewhere.png')
    assert 'width' not in read(folder, line, check_images=False)[0]
    assert read(folder, dict(line, width=W, height=H), check_images=False)[0]['width'] == W
    with pytest.raises(ValueError, match='outside the image'):
        read(folder, dict(line, width=W - 1, height=H), check_images=False)


def test_other_bad_files(folder):
    with pytest.raises(FileNotFoundError, match='Did you mean data.jsonl'):
        write(folder, GOOD)
        ReferJsonlDataset(str(folder / 'date.jsonl'))
    with pytest.raises(ValueError, match='the file has no lines'):
        read(folder, '')
    (folder / 'data.jsonl').write_bytes(b'\xff\xfe{\n')
    assert str(validate_jsonl(str(folder / 'data.jsonl'))[0]) == 'line 1: not UTF-8 text (byte 1)'


def test_tool_reports_and_exits(folder, capsys):
    tool = str(ROOT / 'tools' / 'dataset_tools' / 'validate.py')
    main = runpy.run_path(tool)['main']
    images = ['--images', str(folder / 'images')]
    main([str(write(folder, GOOD)), *images])
    assert 'no problems' in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match='does not exist'):
        main([str(folder / 'none.jsonl'), *images])
    path = write(folder, GOOD, dict(GOOD, image='b.png'))
    main([str(path)])  # the file itself has no problems
    assert 'no problems' in capsys.readouterr().out
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    bad = subprocess.run([sys.executable, tool, str(path), *images], capture_output=True, text=True, env=environment)
    assert bad.returncode == 1 and 'data.jsonl: line 2: the image' in bad.stdout


@pytest.mark.skipif(not SHARED.is_dir(), reason='needs ../shared/data: real COCO masks')
def test_real_annotations_as_json_lines_agree_with_refer(tmp_path):
    from mmuniqrnet.datasets.refer import ReferDataset

    source = ReferDataset(
        'refcoco/instances.json',
        'refcoco/refs(unc).p',
        str(SHARED / 'refcoco_mini'),
        dict(img_path='images/train2014'),
        split=['val', 'testB'],
    )
    lines = [
        dict(image=Path(item['img_path']).name, expressions=item['text'], mask=item['instances'][0]['mask'])
        for item in source
    ]
    path = tmp_path / 'real.jsonl'
    path.write_text('\n'.join(map(json.dumps, lines)))
    copy = ReferJsonlDataset(str(path), data_prefix=dict(img_path=str(SHARED / 'refcoco_mini/images/train2014')))
    assert len(copy) == len(source)
    for item, original in zip(copy, source):
        assert (item['text'], item['height'], item['width']) == (
            original['text'],
            original['height'],
            original['width'],
        )
        # COCO's boxes are its polygons' extents, rounded to two decimals
        np.testing.assert_allclose(item['instances'][0]['bbox'], original['instances'][0]['bbox'], atol=0.011)

"""Files as the tools document them, of our own making: what people draw there comes in, and what is odd is named."""

import json

import numpy as np
import pytest

from mmuniqrnet.analysis.labelling.brush_rle import decode_brush, encode_brush
from mmuniqrnet.analysis.labelling.coco import read_coco
from mmuniqrnet.analysis.labelling.cvat import read_cvat
from mmuniqrnet.analysis.labelling.fiftyone import read_fiftyone
from mmuniqrnet.analysis.labelling.label_studio import read_label_studio
from mmuniqrnet.structures.masks import decode_mask
from mmuniqrnet.utils.errors import UserError

# The 3 x 4 object without one pixel in an image of 5 x 7, as label-studio-sdk 2.1 encodes it.
SDK_RLE = [0, 0, 0, 140, 57, 27, 254, 35, 0, 191, 255, 108, 2, 63, 248, 192, 39, 255, 182, 1, 127, 255, 15, 128, 0]


def small_mask() -> np.ndarray:
    mask = np.zeros((5, 7), bool)
    mask[1:4, 2:6] = True
    mask[2, 3] = False
    return mask


def result(kind: str, name: str, value: dict, size=(200, 100), **more) -> dict:
    return dict(
        id=name,
        type=kind,
        from_name='x',
        to_name='image',
        original_width=size[0],
        original_height=size[1],
        image_rotation=0,
        value=value,
        **more,
    )


BOX = result('rectanglelabels', 'r1', dict(x=10, y=20, width=30, height=40, rotation=0, rectanglelabels=['cup']))
TEXT = result('textarea', 'r1', dict(x=10, y=20, width=30, height=40, text=['the left cup', ' a mug ']))


def label_studio(tmp_path, results, image='/data/local-files/?d=cups/my%20cup.jpg', **task):
    path = tmp_path / 'export.json'
    path.write_text(json.dumps([dict(id=12, data=dict(image=image), annotations=[dict(id=3, result=results)], **task)]))
    return path


def test_label_studio_box_polygon_and_brush(tmp_path):
    polygon = result('polygonlabels', 'r2', dict(points=[[0, 0], [50, 0], [50, 100]], closed=True))
    brush = result('brushlabels', 'r3', dict(format='rle', rle=SDK_RLE), size=(7, 5))
    texts = [dict(TEXT, id='r2', value=dict(text='wedge')), dict(TEXT, id='r3', value=dict(text=['blob']))]
    nothing = dict(type='textarea', id='r9', from_name='no_target', to_name='image', value=dict(text=['a dog']))
    path = label_studio(tmp_path, [BOX, TEXT, polygon, brush, *texts, nothing, dict(type='choices', value={})])
    (box, wedge, blob, none), notes = read_label_studio(path)
    assert notes == []
    assert {one.image for one in (box, wedge, blob, none)} == {'/data/local-files/?d=cups/my%20cup.jpg'}
    assert (box.expressions, box.box, box.mask, box.width, box.height) == (
        ['the left cup', 'a mug'],
        [20, 20, 80, 60],
        None,
        200,
        100,
    )
    assert (wedge.expressions, wedge.mask) == (['wedge'], [[0, 0, 100, 0, 100, 100]])
    assert (decode_mask(blob.mask, 5, 7) == small_mask()).all()
    assert none.no_target and none.expressions == ['a dog']


def test_label_studio_regions_that_are_related_are_one_object(tmp_path):
    polygons = [
        result('polygon', name, dict(points=[[x, 0], [x + 10, 0], [x + 10, 50]])) for name, x in (('p', 0), ('q', 60))
    ]
    relations = [dict(type='relation', from_id=a, to_id=b, direction='right') for a, b in (('p', 'q'), ('r1', 'q'))]
    (one,), _ = read_label_studio(label_studio(tmp_path, [*polygons, *relations, BOX, TEXT]))
    assert one.box == [20, 20, 80, 60] and one.expressions == ['the left cup', 'a mug']
    assert one.mask == [[0, 0, 20, 0, 20, 50], [120, 0, 140, 0, 140, 50]]


def test_label_studio_tasks_that_are_not_done_are_counted(tmp_path):
    path = tmp_path / 'export.json'
    skipped = dict(result=[BOX], was_cancelled=True)
    tasks = [dict(data=dict(image='a.jpg'), annotations=found) for found in ([], [skipped], [dict(result=[BOX])])]
    path.write_text(json.dumps(tasks))
    objects, notes = read_label_studio(path)
    assert len(objects) == 1 and notes == ['2 task(s) without annotation are left out']


@pytest.mark.parametrize(
    'results, sentence',
    [
        ([dict(BOX, type='ellipselabels')], 'task 12, result r1 is of type ellipselabels: boxes, polygons and'),
        ([dict(BOX, value=dict(BOX['value'], rotation=30))], 'task 12, region r1 has no "value", or is rotated'),
        ([dict(BOX, image_rotation=90)], 'task 12, region r1 has no "value", or is rotated'),
        ([dict(BOX, original_width=None)], 'region r1: "original_width" and "original_height" should be'),
        ([dict(BOX, value=dict(x=1, y=2, width='3', height=4))], 'region r1: "x", "y", "width" and "height" should be'),
        ([dict(BOX, value=dict(x=90, y=2, width=30, height=4))], 'region r1: the box .* reaches outside the image'),
        ([BOX, BOX], 'result r1: a region should have an "id" of its own'),
        ([BOX, dict(TEXT, id='r7')], 'result r7: this text belongs to no region'),
        ([BOX, dict(TEXT, value=dict(text=3))], 'result r1: "value.text" should be a text or a list of texts'),
        ([BOX, dict(type='relation', from_id='r1', to_id='gone')], 'a relation connects r1 and gone'),
        ([result('polygonlabels', 'p', dict(points=[[0, 0], [1, 1]]))], 'region p: a polygon should have three points'),
        ([result('polygonlabels', 'p', dict(points=[[0, None]]))], r'region p: "points" should be a list of \[x, y\]'),
        ([result('brushlabels', 'b', dict(rle=SDK_RLE))], 'region b: "rle" has 140 values, but an image of 200x100'),
        ([result('brushlabels', 'b', dict(rle=SDK_RLE[:-4]), size=(7, 5))], 'region b: "rle" is cut off'),
        ([result('brushlabels', 'b', dict(rle=[300]), size=(7, 5))], 'region b: "rle" should be a list of numbers'),
        ('text', '"result" should be a list of objects'),
    ],
)
def test_label_studio_odd_regions_are_named(results, sentence, tmp_path):
    with pytest.raises(UserError, match=f'export.json, .*{sentence}'):
        read_label_studio(label_studio(tmp_path, results))


@pytest.mark.parametrize(
    'content, sentence',
    [
        ({}, 'should be a list of tasks'),
        ([dict(id=4, image='a.jpg', label=[])], 'task 4 has no "data" with "image"; this looks like JSON-MIN'),
        ([dict(data=dict(image='a.jpg'))], 'task number 0 has no list of "annotations"'),
        ([dict(data=dict(image='a.jpg'), annotations=[dict(result=[])] * 2)], 'has 2 annotations: delete all but one'),
    ],
)
def test_label_studio_other_exports_are_named(content, sentence, tmp_path):
    (tmp_path / 'x.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match=sentence):
        read_label_studio(tmp_path / 'x.json')


def test_brush_strokes_are_encoded_as_label_studio_does():
    assert encode_brush(small_mask()) == SDK_RLE
    rng = np.random.default_rng(0)
    for share in (0, 0.02, 0.5, 0.98, 1):
        mask = rng.random((61, 47)) < share
        assert (decode_brush(encode_brush(mask), 61, 47) == mask).all()
    large = np.ones((200, 300), bool)  # longer than the longest run
    assert (decode_brush(encode_brush(large), 200, 300) == large).all()


def test_values_one_by_one_and_partly_covered_pixels_are_read():
    """Two pixels, written as eight single values: alpha 127 and 128."""
    bits = f'{8:032b}' + f'{7:05b}' + ''.join(f'{n - 1:04b}' for n in (3, 4, 8, 16))
    bits += '0' + '00' + f'{7:03b}' + ''.join(f'{value:08b}' for value in (9, 9, 9, 127, 9, 9, 9, 128))
    bits += '0' * (-len(bits) % 8)
    data = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    assert decode_brush(data, 1, 2).tolist() == [[False, True]]


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>4</id><name>cups</name><size>2</size><mode>annotation</mode></task></meta>
  <image id="0" name="cups/1.jpg" width="200" height="100">
    <box label="cup" source="manual" occluded="0" xtl="20.50" ytl="20.00" xbr="80.00" ybr="60.00" z_order="0">
      <attribute name="color">red</attribute>
      <attribute name="expression">the left cup
a mug</attribute>
    </box>
    <polygon label="cup" source="manual" occluded="0" points="0.00,0.00;100.00,0.00;100.00,100.00" z_order="0">
      <attribute name="expression">wedge</attribute>
    </polygon>
    <tag label="no_target" source="manual"><attribute name="expression">a dog</attribute></tag>
    <tag label="night" source="manual"></tag>
  </image>
  <image id="1" name="2.jpg" subset="train" width="7" height="5">
    <mask label="cup" source="manual" occluded="0" rle="0, 5, 1, 6" left="2" top="1" width="4" height="3" z_order="0">
      <attribute name="expression">blob</attribute>
    </mask>
    <box label="cup" occluded="0" xtl="1" ytl="1" xbr="3" ybr="4" group_id="2" z_order="0"/>
    <polygon label="cup" occluded="0" points="1,1;3,1;3,4" group_id="2">
      <attribute name="expression">g</attribute>
    </polygon>
  </image>
</annotations>
"""


def test_cvat_box_polygon_mask_tag_and_group(tmp_path):
    path = tmp_path / 'annotations.xml'
    path.write_text(CVAT)
    objects, notes = read_cvat(path)
    assert notes == []
    found = {one.expressions[0]: one for one in objects}
    assert list(found) == ['a dog', 'the left cup', 'wedge', 'blob', 'g']
    cup = found['the left cup']
    assert (cup.image, cup.expressions, cup.box, cup.mask) == (
        'cups/1.jpg',
        ['the left cup', 'a mug'],
        [20.5, 20, 80, 60],
        None,
    )
    assert (cup.width, cup.height, cup.split) == (200, 100, None)
    assert found['wedge'].mask == [[0, 0, 100, 0, 100, 100]]
    assert found['a dog'].no_target
    expected = np.zeros((5, 7), bool)
    expected[1:4, 2:6] = True
    expected[2, 3] = False
    assert (decode_mask(found['blob'].mask, 5, 7) == expected).all() and found['blob'].split == 'train'
    assert (found['g'].box, found['g'].mask) == ([1, 1, 3, 4], [[1, 1, 3, 1, 3, 4]])


def test_cvat_lines_end_at_line_feeds_only(tmp_path):
    path = tmp_path / 'annotations.xml'
    text = 'the\u2028left\x85cup'
    path.write_bytes(CVAT.replace('the left cup\na mug', f'{text}\r\na mug').encode())
    assert [text, 'a mug'] in [one.expressions for one in read_cvat(path)[0]]


@pytest.mark.parametrize(
    'old, new, sentence',
    [
        ('<box label="cup" source', '<ellipse label="cup" source', 'is not XML'),
        ('<tag label="night" source="manual"></tag>', '<polyline points="1,2"/>', 'shape 3 is a polyline: boxes'),
        ('xtl="20.50"', 'xtl=""', 'image cups/1.jpg, shape 0: "xtl" of <box> should be a number'),
        ('xbr="80.00"', 'xbr="280.00"', 'image cups/1.jpg, shape 0: the box .* reaches outside the image of 200x100'),
        ('z_order="0">', 'rotation="5" z_order="0">', 'shape 0: it is rotated'),
        ('100.00,0.00;', '', 'shape 1: "points" should be "x,y;x,y;x,y"'),
        ('rle="0, 5, 1, 6"', 'rle="0, 5, 1"', 'image 2.jpg, shape 0: "rle" should be numbers of pixels that add up to'),
        ('left="2"', 'left="6"', 'image 2.jpg, shape 0: the mask reaches outside the image of 7x5'),
        ('rle="0, 5, 1, 6"', 'rle="12"', 'image 2.jpg, shape 0: the mask is empty'),
        ('width="7"', 'width="wide"', 'image 2.jpg: "width" of <image> should be a number'),
        ('name="2.jpg"', 'name=""', 'image 1 has no name'),
        ('<version>1.1</version>', '<track id="0"/>', 'not of the format "CVAT for images 1.1"'),
    ],
)
def test_cvat_odd_shapes_are_named(old, new, sentence, tmp_path):
    path = tmp_path / 'annotations.xml'
    assert old in CVAT
    path.write_text(CVAT.replace(old, new, 1))
    with pytest.raises(UserError, match=f'annotations.xml.*{sentence}'):
        read_cvat(path)


def test_cvat_archive_is_named(tmp_path):
    (tmp_path / 'task.zip').write_bytes(b'PK\x03\x04')
    with pytest.raises(UserError, match='is an archive: unpack it, and give its annotations.xml'):
        read_cvat(tmp_path / 'task.zip')


# The mask [[True, False], [False, True]], as FiftyOne 1.22 writes it.
PACKED = 'eJyb7BfqGxDJyFDGUK2eklqcXKRupaBek2SorqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RpGOgpGmjoKtQpkAy5GBgZGANyjG6Y='


def fiftyone(tmp_path, detections, **sample):
    common = dict(filepath='cups/1.jpg', tags=['val'], metadata=dict(_cls='ImageMetadata', width=40, height=30))
    path = tmp_path / 'samples.json'
    field = dict(_cls='Detections', detections=detections)
    path.write_text(json.dumps(dict(name='x', samples=[{**common, 'ground_truth': field, **sample}])))
    return path


DETECTION = dict(_cls='Detection', label='the cup', bounding_box=[0.1, 0.2, 0.05, 0.2 / 3])


def test_fiftyone_detections_with_and_without_mask(tmp_path):
    mask = {'$binary': dict(base64=PACKED, subType='00')}
    rows = [DETECTION, dict(DETECTION, label='thing', mask=mask), dict(DETECTION, label='big', mask=PACKED, ref_id=7)]
    rows[2]['bounding_box'] = [0.1, 0.2, 0.1, 0.4 / 3]  # of 4 x 4 pixels: the mask is resized, as FiftyOne draws it
    (cup, thing, big), notes = read_fiftyone(fiftyone(tmp_path, [*rows, dict(rows[2], label='large')]))
    assert notes == [] and (cup.image, cup.split, cup.width, cup.height) == ('cups/1.jpg', 'val', 40, 30)
    assert cup.box == pytest.approx([4, 6, 6, 8]) and cup.mask is None
    expected = np.zeros((30, 40), bool)
    expected[6, 4] = expected[7, 5] = True
    assert (decode_mask(thing.mask, 30, 40) == expected).all() and thing.box == [4, 6, 6, 8]
    expected[6:8, 4:6] = expected[8:10, 6:8] = True
    assert (decode_mask(big.mask, 30, 40) == expected).all() and big.expressions == ['big', 'large']


@pytest.mark.parametrize(
    'change, sentence',
    [
        (dict(bounding_box=[0.1, 0.2]), 'sample 0, detection 0: "bounding_box" should be four numbers'),
        (dict(bounding_box=[0.9, 0.2, 0.5, 0.5]), 'sample 0, detection 0: the box .* reaches outside the image'),
        (dict(mask='eJy'), 'sample 0, detection 0: "mask" is not an array as FiftyOne writes it'),
        (dict(mask_path='m.png'), r'sample 0, detection 0: its mask is a file \(mask_path\)'),
        (dict(mask=PACKED, own_box=[1, 2]), 'sample 0, detection 0: "own_box" should be four numbers'),
    ],
)
def test_fiftyone_odd_detections_are_named(change, sentence, tmp_path):
    with pytest.raises(UserError, match=f'samples.json, {sentence}'):
        read_fiftyone(fiftyone(tmp_path, [{**DETECTION, **change}]))


def test_fiftyone_other_files_are_named(tmp_path):
    two = [dict(DETECTION, ref_id=1), dict(DETECTION, ref_id=1, bounding_box=[0, 0, 0.5, 0.5])]
    with pytest.raises(UserError, match='detection 1 has the ref_id 1 of another object'):
        read_fiftyone(fiftyone(tmp_path, two))
    with pytest.raises(UserError, match=r'sample 0 has no size: call compute_metadata\(\)'):
        read_fiftyone(fiftyone(tmp_path, [DETECTION], metadata=None))
    with pytest.raises(UserError, match='sample 0 has no "filepath"'):
        read_fiftyone(fiftyone(tmp_path, [DETECTION], filepath=None))
    others = {name: dict(_cls='Detections', detections=[]) for name in ('yolo', 'sam')}
    with pytest.raises(UserError, match='several fields of detections, yolo, sam: name one ground_truth'):
        read_fiftyone(fiftyone(tmp_path, [], ground_truth=None, **others))
    (tmp_path / 'samples.json').write_text('[]')
    with pytest.raises(UserError, match='should be a JSON object with "samples"'):
        read_fiftyone(tmp_path / 'samples.json')


def coco(tmp_path, **annotation):
    image = dict(id=3, file_name='1.jpg', width=40, height=30)
    one = dict(id=8, image_id=3, category_id=1, bbox=[4, 6, 10, 12], **annotation)
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(dict(images=[image], annotations=[one], categories=[])))
    return path


@pytest.mark.parametrize(
    'annotation', [dict(expressions=['a', ' b ']), dict(expressions='a'), dict(attributes=dict(expression='a'))]
)
def test_coco_with_expressions(annotation, tmp_path):
    """Also as CVAT writes its attributes into COCO's format."""
    ((one,), notes) = read_coco(coco(tmp_path, segmentation=[[4, 6, 14, 6, 14, 18]], **annotation))
    assert notes == [] and one.expressions[0] == 'a' and one.box == [4, 6, 14, 18]
    assert one.mask == [[4, 6, 14, 6, 14, 18]] and (one.width, one.height) == (40, 30)


@pytest.mark.parametrize(
    'annotation, sentence',
    [
        (dict(expressions=[3]), '"expressions" should be a text or a list of texts'),
        (dict(segmentation=[4, 6]), '"segmentation" is one flat list of numbers'),
        (dict(segmentation=[[4, 6]]), 'the mask of ann_id 8 has no part of three points'),
    ],
)
def test_coco_odd_annotations_are_named(annotation, sentence, tmp_path):
    with pytest.raises(UserError, match=f'instances.json, annotation 8: {sentence}'):
        read_coco(coco(tmp_path, **annotation))


@pytest.mark.parametrize(
    'change, sentence',
    [
        (dict(metadata=dict(width=2**20, height=2**20)), 'sample 0: the size of the image cannot be 1048576 x 1048576'),
        (dict(metadata=dict(width=40.5, height=30)), 'sample 0: the size of the image cannot be 40.5 x 30 pixels'),
        (dict(tags='val'), 'sample 0: "tags" should be a list'),
        (
            dict(no_target=dict(classifications=[3])),
            'sample 0: the classifications of "no_target" should have a "label"',
        ),
    ],
)
def test_fiftyone_odd_samples_are_named(change, sentence, tmp_path):
    """Masks would be allocated with the size that the file gives."""
    with pytest.raises(UserError, match=sentence):
        read_fiftyone(fiftyone(tmp_path, [DETECTION], **change))

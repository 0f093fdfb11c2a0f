"""RefCOCO-M, Ref-L4 and the reviewed RefCOCO, from small files of the hub's layout."""

import json
import logging

import pytest
from helpers.paths import MINI, needs_mini

pytest.importorskip('pyarrow')

from helpers.corrected_samples import ref_l4_rows, refcoco_m_rows, review, write_rows
from mmengine.logging import MMLogger

from mmuniqrnet.datasets import RefCOCOMDataset, ReferDataset, RefL4Dataset, ReviewedReferDataset
from mmuniqrnet.datasets.annotation_files import load_refs
from mmuniqrnet.structures.masks import decode_mask
from mmuniqrnet.utils.errors import MissingFileError, UserError

IMAGE = dict(id=9, file_name='COCO_train2014_000000000009.jpg', height=40, width=60)
CONTENT = dict(
    images=[IMAGE],
    annotations=[
        dict(id=5, image_id=9, bbox=[10.5, 5.0, 20.0, 30.0], segmentation=[[10, 5, 30, 5, 30, 35, 10, 35]]),
        dict(id=6, image_id=9, bbox=[40.0, 5.0, 10.0, 30.0], segmentation=[[40, 5, 50, 5, 50, 35, 40, 35]]),
    ],
)


def sentence(number: int, text: str) -> dict:
    return dict(sent_id=number, raw=f' {text.upper()}!', sent=text, tokens=text.split())


REFS = [
    dict(ref_id=1, ann_id=5, image_id=9, split='val', sentences=[sentence(11, 'left dog'), sentence(12, 'big dog')]),
    dict(ref_id=2, ann_id=6, image_id=9, split='val', sentences=[sentence(13, 'big dog'), sentence(14, 'big dog')]),
]


@pytest.fixture
def told(caplog):
    """What is logged."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield lambda: ' '.join(record.getMessage() for record in caplog.records if record.levelno >= logging.INFO)
    logger.removeHandler(caplog.handler)


def items(dataset):
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def of_m(tmp_path, rows, **options):
    write_rows(tmp_path / 'm' / 'validation-00000-of-00001.parquet', rows)
    return RefCOCOMDataset(data_root=str(tmp_path / 'm'), check_images=False, **options)


def of_l4(tmp_path, rows, **options):
    write_rows(tmp_path / 'ref-l4-val.parquet', rows)
    return RefL4Dataset(data_root=str(tmp_path), **dict(dict(split='val', check_images=False), **options))


def test_refcoco_m_has_an_item_for_each_expression_with_box_and_mask(tmp_path, told):
    found = items(of_m(tmp_path, refcoco_m_rows(REFS, CONTENT), data_prefix=dict(img_path='train2014')))
    assert [item['text'] for item in found] == ['LEFT DOG!', 'BIG DOG!', 'BIG DOG!', 'BIG DOG!']
    assert [item['sent_id'] for item in found] == ['5_0', '5_1', '6_0', '6_1']
    assert [item['ann_id'] for item in found] == [5, 5, 6, 6]
    first = found[0]
    assert first['img_path'] == str(tmp_path / 'm' / 'train2014' / IMAGE['file_name']) and first['img_id'] == 9
    assert (first['height'], first['width'], first['dataset'], first['split']) == (40, 60, 'refcoco-m', 'val')
    (instance,) = first['instances']
    assert instance['bbox'] == [10.5, 5, 30.5, 35]
    mask = decode_mask(instance['mask'], 40, 60)
    assert mask.sum() == 20 * 30 and mask[5:35, 10:30].all()
    assert 'not the complete RefCOCO-M: it has 1 images (published: 1,190), 2 objects (published: 2,080)' in told()


@pytest.mark.parametrize(
    'change, sentence',
    [
        (dict(samples=[]), 'row 1: image 10 has no samples'),
        (dict(file_name=''), 'row 1: "file_name" should be a name, not \'\''),
        (dict(sentences=[]), 'row 1: "sentences" of sample 7 should be a list of expressions'),
        (dict(sentences=['a', ' ']), 'row 1: "sentences" of sample 7 should be a list of expressions'),
        (dict(bbox=[1.0, 2.0, 3.0]), 'row 1: sample 7: "bbox" should be four numbers'),
        (dict(bbox=[50.0, 2.0, 30.0, 4.0]), 'row 1: sample 7: the box .* reaches outside the image of 60x40'),
        (dict(mask=dict(counts='09', size=[40, 60])), 'row 1: sample 7: the "counts" of an RLE mask add up to'),
        (dict(mask=None), 'row 1: a sample has no mask'),
        (dict(id=5), r'1 id\(s\) of samples are given more than once \(5\)'),
    ],
)
def test_odd_rows_of_refcoco_m_are_named(change, sentence, tmp_path):
    row = refcoco_m_rows(REFS[:1], CONTENT)[0]
    row.update(image_id=10, samples=[dict(row['samples'][0], id=7)])
    for key, value in change.items():
        (row if key in row else row['samples'][0])[key] = value
    with pytest.raises(UserError, match=sentence):
        of_m(tmp_path, [*refcoco_m_rows(REFS, CONTENT), row])


def test_refcoco_m_says_what_is_missing(tmp_path):
    with pytest.raises(MissingFileError, match='does not exist; it should hold the parquet files of moondream'):
        RefCOCOMDataset(data_root=str(tmp_path / 'gone'))
    with pytest.raises(MissingFileError, match='there is no parquet file'):
        RefCOCOMDataset(data_root=str(tmp_path))
    with pytest.raises(UserError, match=r'lacks the column\(s\) file_name, samples: is it a file of moondream'):
        of_m(tmp_path, [dict(image_id=3)])
    with pytest.raises(UserError, match="has no split 'test'; it has 'val'"):
        of_m(tmp_path, refcoco_m_rows(REFS, CONTENT), split='test')


def test_ref_l4_has_boxes_and_its_own_ids(tmp_path, told):
    found = items(of_l4(tmp_path, ref_l4_rows(REFS, CONTENT, 'val'), data_prefix=dict(img_path='images')))
    assert [item['sent_id'] for item in found] == [0, 1, 2, 3]
    assert [item['ref_id'] for item in found] == ['o365_5', 'o365_5', 'o365_6', 'o365_6']
    assert found[0]['img_id'] == 'o365_9' and found[0]['text'] == 'LEFT DOG!'
    assert (found[0]['height'], found[0]['width']) == (40, 60)
    assert found[0]['instances'] == [dict(bbox=[10.5, 5, 30.5, 35], bbox_label=0, ignore_flag=0)]
    assert 'complete' not in told()  # only the total of both splits is published


def test_ref_l4_counts_both_splits_and_keeps_boxes_that_reach_out(tmp_path, told):
    write_rows(tmp_path / 'ref-l4-test.parquet', ref_l4_rows(REFS, CONTENT, 'test', first_id=4))
    rows = ref_l4_rows(REFS, CONTENT, 'val')
    for row in rows[:2]:
        row.update(bbox=[50.0, 5.0, 13.0, 30.0], bbox_id='far')
    rows[2].update(bbox=[50.0, 5.0, 10.5, 30.0], bbox_id='near')
    found = items(of_l4(tmp_path, rows, split=['val', 'test']))
    assert [item['split'] for item in found] == ['val'] * 4 + ['test'] * 4
    assert found[0]['instances'][0]['bbox'] == [50, 5, 63, 35]
    assert found[2]['instances'][0]['bbox'] == [50, 5, 60, 35]  # less than a pixel outside, as in all data sets
    assert '2 expression(s) have a box that reaches a pixel or more outside its image' in told()
    assert 'not the complete Ref-L4: it has 8 expressions (published: 45,341)' in told()


@pytest.mark.parametrize(
    'change, sentence',
    [
        (dict(caption='  '), 'row 4: "caption" of id 7 should be an expression'),
        (dict(bbox=[1.0, 2.0, 0.0, 4.0]), 'row 4: id 7: the box .* has no area'),
        (dict(bbox=[70.0, 2.0, 5.0, 4.0]), 'row 4: id 7: the box .* reaches outside the image'),
        (dict(bbox=[1.0, 2.0, float('nan'), 4.0]), 'row 4: id 7: "bbox" should be four numbers'),
        (dict(width=0), 'row 4: "height" and "width" of id 7 should be positive'),
        (dict(split='test'), "row 4: id 7 belongs to split 'test', not to 'val'"),
        (dict(id=0), r'1 id\(s\) of expressions are given more than once \(0\)'),
        (dict(bbox_id='o365_5', bbox=[1.0, 2.0, 3.0, 4.0]), "row 4: bbox_id 'o365_5' is in another row with another"),
    ],
)
def test_odd_rows_of_ref_l4_are_named(change, sentence, tmp_path):
    rows = ref_l4_rows(REFS, CONTENT, 'val')
    with pytest.raises(UserError, match=sentence):
        of_l4(tmp_path, [*rows, {**rows[0], 'id': 7, 'bbox_id': 'x', **change}])


def of_review(tmp_path, content, **options):
    (tmp_path / 'instances.json').write_text(json.dumps(CONTENT))
    (tmp_path / 'refs.json').write_text(json.dumps(REFS))
    (tmp_path / 'val_reviewed.json').write_text(json.dumps(content))
    return ReviewedReferDataset(
        ann_file='instances.json',
        split_file='refs.json',
        review_file='{split}_reviewed.json',
        data_root=str(tmp_path),
        **options,
    )


def test_expressions_marked_wrong_are_left_out(tmp_path, told):
    """Two objects have the same expression, and one has it twice: only the marked one goes."""
    assert [item['sent_id'] for item in items(of_review(tmp_path, review(REFS, {12, 13})))] == [11, 14]
    assert 'val_reviewed.json: 2 of 4 expressions are marked wrong and left out' in told()
    assert [item['sent_id'] for item in items(of_review(tmp_path, review(REFS, {11, 12})))] == [13, 14]
    kept = items(of_review(tmp_path, review(REFS, {14})))
    plain = ReferDataset('instances.json', 'refs.json', data_root=str(tmp_path), split='val')
    expected = [dict(item, dataset='refcoco_reviewed') for item in items(plain) if item['sent_id'] != 14]
    assert kept == [dict(item, sample_idx=new['sample_idx']) for item, new in zip(expected, kept)]


def test_an_incomplete_review_is_told_and_a_foreign_one_refused(tmp_path, told):
    content = review(REFS, {12})
    content['annotations'] = content['annotations'][:3]
    assert [item['sent_id'] for item in items(of_review(tmp_path, content))] == [11, 13, 14]
    assert "1 expressions are not in the review and are kept, such as 'big dog' (ref_id 2)" in told()
    content['annotations'] = content['annotations'][:1]
    with pytest.raises(UserError, match=r"does not have 3 of 4 expressions, such as 'big dog' \(ref_id 1\)"):
        of_review(tmp_path, content)


@pytest.mark.parametrize(
    'key, value, sentence',
    [
        ('caption', None, '"caption" of image 1 should be an expression'),
        ('caption_quality', 'good', '"caption_quality" of annotation 1 should be a number'),
        ('image_id', 77, 'annotation 1 has image_id 77, which "images" does not list'),
    ],
)
def test_a_malformed_review_is_named(key, value, sentence, tmp_path):
    content = review(REFS, set())
    content['images' if key == 'caption' else 'annotations'][1][key] = value
    with pytest.raises(UserError, match=f'val_reviewed.json: {sentence}'):
        of_review(tmp_path, content)


@needs_mini
def test_every_real_expression_is_found_in_a_review_of_it(tmp_path, told):
    refs = [ref for ref in load_refs(str(MINI / 'refcoco' / 'refs(unc).p')) if ref['split'] == 'val']
    wrong = {ref['sentences'][-1]['sent_id'] for ref in refs[::2]}
    (tmp_path / 'val.json').write_text(json.dumps(review(refs, wrong)))
    common = dict(ann_file='refcoco/instances.json', split_file='refcoco/refs(unc).p', data_root=str(MINI), split='val')
    whole = ReferDataset(**common, check_images=False)
    kept = ReviewedReferDataset(**common, review_file=str(tmp_path / '{split}.json'), check_images=False)
    expected = [item['sent_id'] for item in items(whole) if item['sent_id'] not in wrong]
    assert [item['sent_id'] for item in items(kept)] == expected and len(expected) < len(whole)
    assert 'not in the review' not in told()

import json

import pytest
from helpers.data_trees import change_annotation, coco_name, link_mini, write_set
from helpers.paths import SHARED_DATA
from helpers.refer_mini import REFER_MINI
from helpers.tools import run_dataset_tool
from PIL import Image

from mmuniqrnet.analysis import KNOWN_SETS, OFFICIAL_COUNTS, verify_set
from mmuniqrnet.utils.errors import UserError

REFCOCO = KNOWN_SETS['refcoco(unc)']


def needs(folder):
    return pytest.mark.skipif(not (SHARED_DATA / folder).is_dir(), reason=f'needs ../shared/data: {folder}')


def test_a_small_set_is_counted_and_told_from_the_official_one(tmp_path):
    write_set(tmp_path, 'refcoco', 'unc', dict(train=[1, 2], val=[3]))
    found = verify_set(REFCOCO, str(tmp_path))
    assert found.counts == dict(train=dict(refs=2, expressions=4, images=2), val=dict(refs=1, expressions=2, images=1))
    assert 'split testA is missing' in found.differences
    assert 'val has 2 expressions, officially 10,834' in found.differences
    assert found.problems == [] and found.images_checked == found.objects_checked == 3 and not found.good


@pytest.mark.parametrize(
    'changes, problem',
    [
        (
            dict(bbox=[2.0, 3.0, 10.5, 9.0]),
            'the box is [2.0, 3.0, 12.5, 12.0], but the box around its mask is [2.0, 3.0, 12.5, 11.0]',
        ),
        (
            dict(bbox=[35.0, 3.0, 10.5, 8.0]),
            'the box [35.0, 3.0, 45.5, 11.0] reaches outside the image of 40x30 pixels',
        ),
        (dict(bbox=[2.0, 3.0, 0.0, 8.0]), 'the box [2.0, 3.0, 2.0, 11.0] has no area'),
        (
            dict(bbox=[2.0, 3.0, 11.0, 8.0], segmentation=dict(size=[30, 40], counts=[63, 8, 1129])),
            'the box is [2.0, 3.0, 13.0, 11.0], but the box around its mask is [2.0, 3.0, 3.0, 11.0]',
        ),
    ],
)
def test_boxes_that_do_not_fit(tmp_path, changes, problem):
    change_annotation(write_set(tmp_path, 'refcoco', 'unc', dict(train=[7, 8])), 2, **changes)
    assert verify_set(REFCOCO, str(tmp_path)).problems == [f'ann_id 2 on image 8: {problem}']


def test_a_box_of_whole_pixels_fits_its_rle(tmp_path):
    change_annotation(
        write_set(tmp_path, 'refcoco', 'unc', dict(train=[7])),
        1,
        bbox=[2.4, 3.3, 0.7, 8.0],
        segmentation=dict(size=[30, 40], counts=[63, 8, 1129]),
    )
    assert verify_set(REFCOCO, str(tmp_path)).problems == []


def test_images_that_are_missing_damaged_or_of_another_size(tmp_path):
    write_set(tmp_path, 'refcoco', 'unc', dict(train=[1, 2, 3, 4]))
    photos = tmp_path / 'coco' / 'train2014'
    (photos / coco_name(1)).unlink()
    Image.new('RGB', (30, 40)).save(photos / coco_name(2))  # turned
    (photos / coco_name(3)).write_text('<html>')
    problems = verify_set(REFCOCO, str(tmp_path)).problems
    assert len(problems) == 3
    assert any('1 of 4 images are missing, such as' in problem and coco_name(1) in problem for problem in problems)
    assert any(f'{coco_name(2)} is 30x40 pixels, its annotation says 40x30' in problem for problem in problems)
    assert any(f'{coco_name(3)} is not a readable image' in problem for problem in problems)
    assert verify_set(REFCOCO, str(tmp_path), check_images=False).problems == []


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason='needs ../shared/data: official_counts.json')
def test_the_counts_are_those_of_the_file_of_counts():
    theirs = json.loads((SHARED_DATA / 'official_counts.json').read_text())
    assert {
        name: {split: counts for split, counts in of_set.items() if split != 'total'}
        for name, of_set in theirs.items()
        if name != 'source'
    } == OFFICIAL_COUNTS


@needs('refcoco_boxes')
@pytest.mark.parametrize('name', ['refcoco(unc)', 'refcoco+(unc)'])
def test_real_val_and_test_sets_are_whole(name):
    found = verify_set(KNOWN_SETS[name], str(SHARED_DATA / 'refcoco_boxes'), check_images=False)
    assert found.differences == ['split train is missing'] and found.problems == []


@needs('referitgame')
def test_real_referitgame_is_whole(tmp_path, capsys):
    (tmp_path / 'referit').symlink_to(SHARED_DATA / 'referitgame')
    assert run_dataset_tool('verify', tmp_path, '--no-images') == 0
    assert 'referit(berkeley): good' in capsys.readouterr().out


@needs('refcoco_mini')
def test_real_photographs_masks_and_boxes_fit(tmp_path):
    root = link_mini(tmp_path)
    for name, images in (('refcoco(unc)', 5), ('refcoco+(unc)', 5), ('refcocog(umd)', 4)):
        found = verify_set(KNOWN_SETS[name], str(root))
        assert found.images_checked == images and found.objects_checked >= 5 and found.problems == []


@pytest.mark.parametrize(
    'name, counts',
    [
        (
            'refcoco(unc)',
            dict(train=(4, 7, 1, 3), val=(2, 4, 1, 2), testA=(2, 3, 1, 2), testB=(2, 3, 1, 2)),
        ),
        ('refcoco+(unc)', dict(train=(1, 1, 1, 1), val=(2, 3, 1, 2), testA=(1, 1, 1, 1), testB=(1, 2, 1, 1))),
        ('refcocog(umd)', dict(train=(1, 1, 1, 1), val=(1, 2, 1, 1), test=(2, 3, 1, 2))),
    ],
)
def test_drawn_pictures_masks_and_boxes_of_every_kind_fit(name, counts, tmp_path):
    """Refs, expressions, images and objects of each split, counted on paper: tests/data/make_refer_mini.py."""
    found = verify_set(KNOWN_SETS[name], str(link_mini(tmp_path, REFER_MINI)))
    assert found.counts == {
        split: dict(refs=refs, expressions=expressions, images=images)
        for split, (refs, expressions, images, _) in counts.items()
    }
    assert found.problems == [] and found.images_checked == len({*counts})
    assert found.objects_checked == sum(objects for *_, objects in counts.values())


def test_drawn_referitgame_is_counted_without_its_unusable_picture(tmp_path):
    (tmp_path / 'referit').symlink_to(REFER_MINI / 'referit')
    found = verify_set(KNOWN_SETS['referit(berkeley)'], str(tmp_path))
    assert found.problems == [] and found.images_checked == 3
    assert {split: count['expressions'] for split, count in found.counts.items()} == dict(train=3, val=1, test=2)


def test_tool(tmp_path, capsys):
    write_set(tmp_path, 'refcoco', 'unc', dict(train=[1], testA=[2]))
    assert run_dataset_tool('verify', tmp_path) == 1
    said = capsys.readouterr().out
    assert 'refcoco(unc): NOT as published' in said and '2 / 5657' in said
    with pytest.raises(UserError, match='annotation files of none of'):
        run_dataset_tool('verify', tmp_path / 'refcoco')

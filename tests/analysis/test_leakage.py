import json
import pickle

import pytest
from helpers.data_trees import coco_name, link_mini, write_set
from helpers.paths import SHARED_DATA
from helpers.refer_mini import REFER_MINI
from helpers.tools import run_dataset_tool

from mmuniqrnet.analysis import choose_sets, find_leaks, held_out_images, training_images
from mmuniqrnet.datasets import ReferDataset
from mmuniqrnet.utils.errors import UserError

REFS = {'refcoco': 'unc', 'refcoco+': 'unc', 'refcocog': 'umd'}


@pytest.fixture
def root(tmp_path):
    """RefCOCO trains on a val image of RefCOCO+ (11) and a test image of RefCOCOg (21)."""
    write_set(tmp_path, 'refcoco', 'unc', dict(train=[1, 5, 11, 21], val=[2], testA=[3]))
    write_set(tmp_path, 'refcoco+', 'unc', dict(train=[1], val=[11]))
    folder = write_set(tmp_path, 'refcocog', 'umd', dict(train=[1], test=[20, 21]))
    # The google split divides objects: image 1 is in its train and its val set.
    content = json.loads((folder / 'instances.json').read_text())
    content['annotations'].append(dict(content['annotations'][0], id=9))
    (folder / 'instances.json').write_text(json.dumps(content))
    google = [
        dict(ref_id=number, ann_id=number, image_id=1, split=split, sentences=[dict(sent_id=number, raw='cup')])
        for number, split in ((1, 'train'), (9, 'val'))
    ]
    (folder / 'refs(google).p').write_bytes(pickle.dumps(google, protocol=2))
    return tmp_path


def held_out(root):
    return held_out_images(str(root), choose_sets(['refcoco', 'refcoco+', 'refcocog(umd)']))


def test_leaks_of_one_set_into_the_others_tests(root):
    leaks = {
        (found.name, found.split): ids
        for found, ids in find_leaks(training_images(str(root / 'refcoco' / 'refs(unc).p'), 'train'), held_out(root))
    }
    assert leaks == {
        ('refcoco(unc)', 'val'): set(),
        ('refcoco(unc)', 'testA'): set(),
        ('refcoco+(unc)', 'val'): {11},
        ('refcocog(umd)', 'test'): {21},
    }


def test_the_google_split_leaks_into_itself(root):
    trained = training_images(str(root / 'refcocog' / 'refs(google).p'), 'train')
    (val,) = held_out_images(str(root), choose_sets(['refcocog(google)']))
    assert (val.split, trained & val.image_ids) == ('val', {1})


def test_every_kind_of_training_file_names_its_images(tmp_path, root):
    assert training_images(str(root / 'refcoco' / 'refs(unc).p')) == {1, 2, 3, 5, 11, 21}
    assert training_images(str(root / 'refcoco' / 'instances.json')) == {1, 2, 3, 5, 11, 21}
    queries = tmp_path / 'queries.json'
    queries.write_text(json.dumps({'38100_1': ['a cup'], '7_2': ['mug']}))
    assert training_images(str(queries)) == {38100, 7}
    lines = tmp_path / 'own.jsonl'
    lines.write_text(
        ''.join(
            json.dumps(dict(image=name, expressions='x', split=split)) + '\n'
            for name, split in (
                (f'train2014/{coco_name(581921)}', 'train'),
                ('000000000009.jpg', 'train'),
                ('12.png', 'val'),
            )
        )
    )
    assert training_images(str(lines), 'train') == {581921, 9} and training_images(str(lines)) == {581921, 9, 12}


@pytest.mark.parametrize(
    'name, content, split, said',
    [
        ('a.jsonl', '{"image": "cup.jpg"}', None, "line 1: the image 'cup.jpg' is not named by its COCO number"),
        ('a.jsonl', 'cup', None, 'line 1, is not a JSON object'),
        ('a.json', '{"a": 1}', None, 'holds neither refs, nor COCO annotations, nor ReferItGame queries'),
        ('a.json', '{"images": []}', 'train', "has no splits, so it has no split 'train'"),
        ('a.json', '[{"image_id": 1, "split": "val"}]', 'train', "has no split 'train'; it has val"),
        (
            'a.json',
            '{"images": [{"id": "1", "file_name": "a.jpg"}]}',
            None,
            r"id '1' of entry 0 \(a.jpg\) is not an int",
        ),
        ('a.json', '{"images": [{"id": 1.0}]}', None, 'id 1.0 of entry 0 is not an integer'),
        ('a.json', '{"images": [{"file_name": "a.jpg"}]}', None, r'images\[0\] has no "id"'),
        ('a.json', '[{"image_id": "1", "split": "train"}]', 'train', "id '1' of entry 0 is not an integer"),
    ],
)
def test_a_file_that_can_not_be_told_is_refused(tmp_path, name, content, split, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=said):
        training_images(str(tmp_path / name), split)


def test_renumbered_images_are_found_by_their_names(root, capsys):
    """Image 11 is a val image of RefCOCO+, 21 a test image of RefCOCOg, whatever ids another file gives them."""
    images = [dict(id=number, file_name=coco_name(image)) for number, image in ((101, 11), (102, 21), (5, 5))]
    path = root / 'renumbered.json'
    path.write_text(json.dumps(dict(images=images)))
    with pytest.warns(UserWarning, match=f'ids of 2 images .* the first is {coco_name(11)} with id 101'):
        trained = training_images(str(path))
    leaked = set().union(*(ids for _, ids in find_leaks(trained, held_out(root))))
    assert leaked == {11, 21}
    refs = root / 'renumbered_refs.json'
    refs.write_text(json.dumps([dict(image_id=7, split='train', file_name='COCO_train2014_000000000011_2.jpg')]))
    with pytest.warns(UserWarning, match='ids of 1 images'):
        assert 11 in training_images(str(refs))
    with pytest.warns(UserWarning, match='renumbered.json'):
        assert run_dataset_tool('leakage', '--data-root', root, '--train', path) == 1
    assert 'it LEAKS' in capsys.readouterr().out


def test_names_and_ids_that_agree_are_silent(root, recwarn):
    assert training_images(str(root / 'refcoco' / 'instances.json')) == {1, 2, 3, 5, 11, 21}
    held_out(root)
    assert not recwarn


def test_tool_writes_the_list_and_training_on_the_rest_leaks_no_more(root, capsys):
    arguments = ['--data-root', root, '--train', root / 'refcoco' / 'refs(unc).p', '--split', 'train']
    out = root / 'exclude.json'
    assert run_dataset_tool('leakage', *arguments, '--out', out) == 1
    assert '3 of its 4 images are held out: it LEAKS' in capsys.readouterr().out
    assert json.loads(out.read_text()) == [1, 2, 3, 11, 20, 21]
    kept = ReferDataset(
        ann_file='refcoco/instances.json',
        split_file='refcoco/refs(unc).p',
        data_root=str(root),
        data_prefix=dict(img_path='coco/train2014/'),
        split='train',
        filter_cfg=dict(exclude_img_ids=json.loads(out.read_text())),
    )
    assert {kept.get_data_info(index)['img_id'] for index in range(len(kept))} == {5}
    with pytest.raises(FileExistsError, match='exclude.json exists already: .*--overwrite'):
        run_dataset_tool('leakage', *arguments, '--out', out)


def test_a_list_that_is_not_whole_is_not_written_unless_asked_for(root, capsys):
    (root / 'refcocog' / 'refs(google).p').unlink()
    out = root / 'exclude.json'
    with pytest.raises(UserError, match=r'lacks refcocog\(google\) \(refcocog/refs\(google\).p\)'):
        run_dataset_tool('leakage', '--data-root', root, '--out', out)
    assert not out.exists()
    assert run_dataset_tool('leakage', '--data-root', root, '--out', out, '--partial') == 0
    assert json.loads(out.read_text()) == [2, 3, 11, 20, 21]
    assert 'not compared: refcocog(google)' in capsys.readouterr().out


@pytest.mark.parametrize(
    'refs, split, leaks',
    [
        ('refcoco/refs(unc).p', 'train', {('refcoco+(unc)', 'val'): {101}, ('refcocog(umd)', 'val'): {101}}),
        ('refcoco+/refs(unc).p', 'train', {('refcoco(unc)', 'val'): {102}}),
        (
            'refcocog/refs(google).p',
            'train',
            {('refcoco(unc)', 'testA'): {103}, ('refcoco+(unc)', 'testA'): {103}},
        ),
    ],
)
def test_drawn_sets_share_the_images_that_they_were_drawn_to_share(refs, split, leaks, tmp_path):
    root = link_mini(tmp_path, REFER_MINI)
    found = find_leaks(training_images(str(root / refs), split), held_out(root))
    assert {(held.name, held.split): ids for held, ids in found if ids} == leaks


@pytest.mark.skipif(not (SHARED_DATA / 'refcoco_mini').is_dir(), reason='needs ../shared/data: refcoco_mini')
def test_real_sets_share_images(tmp_path):
    """All images of the mini sets are held out, so training on any of its files leaks all of it."""
    root = link_mini(tmp_path)
    found = held_out(root)
    everything = set().union(*(split.image_ids for split in found))
    photos = {int(path.stem.rpartition('_')[2]) for path in (root / 'coco' / 'train2014').iterdir()}
    assert everything == photos
    trained = training_images(str(root / 'refcoco+' / 'instances.json'))
    leaked = set().union(*(ids for _, ids in find_leaks(trained, found)))
    assert leaked == trained


@pytest.mark.skipif(not (SHARED_DATA / 'referitgame').is_dir(), reason='needs ../shared/data: referitgame')
def test_real_referitgame_divides_images(tmp_path, capsys):
    (tmp_path / 'referit').symlink_to(SHARED_DATA / 'referitgame')
    queries = tmp_path / 'referit' / 'referit_query_train.json'
    assert run_dataset_tool('leakage', '--data-root', tmp_path, '--ids-of', 'saiapr', '--train', queries) == 0
    assert '0 of its 8,995 images are held out' in capsys.readouterr().out

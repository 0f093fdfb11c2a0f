import pytest
from helpers.data_trees import write_set
from helpers.tools import run_dataset_tool

from mmuniqrnet.analysis import KNOWN_SETS, OFFICIAL_COUNTS, check_files, choose_sets
from mmuniqrnet.utils.errors import UserError


def states(root, *names):
    return {state.path: state for state in check_files(str(root), choose_sets(names))}


def test_what_is_there_what_is_not_and_where_it_belongs(tmp_path):
    write_set(tmp_path, 'refcoco', 'unc', dict(train=[1, 2]))
    found = states(tmp_path, 'refcoco', 'refcoco+')
    present = {path: state.present for path, state in found.items()}
    assert present == {
        'refcoco/instances.json': True,
        'refcoco/refs(unc).p': True,
        'refcoco+/instances.json': False,
        'refcoco+/refs(unc).p': False,
        'coco/train2014/': False,
    }
    assert 'only 2 of 82,783 images' in found['coco/train2014/'].note
    assert 'github.com/lichengunc/refer' in found['refcoco+/refs(unc).p'].note
    assert found['coco/train2014/'].needed_by == ('refcoco(unc)', 'refcoco+(unc)')


def test_a_folder_of_images_of_another_data_set_is_not_proposed(tmp_path):
    (tmp_path / 'refshapes' / 'images').mkdir(parents=True)
    assert 'found at' not in states(tmp_path, 'referit')['referit/images/'].note
    (tmp_path / 'old' / 'referit' / 'images').mkdir(parents=True)
    assert 'found at old/referit/images' in states(tmp_path, 'referit')['referit/images/'].note


def test_files_in_the_wrong_place_are_found(tmp_path):
    write_set(tmp_path / 'refer' / 'data', 'refcoco', 'unc', dict(train=[1]))
    found = states(tmp_path, 'refcoco', 'refcoco+')
    assert found['refcoco/instances.json'].note == 'found at refer/data/refcoco/instances.json: move or link it'
    assert found['refcoco/refs(unc).p'].note == 'found at refer/data/refcoco/refs(unc).p: move or link it'
    assert found['coco/train2014/'].note == 'found at refer/data/coco/train2014: move or link it'
    # RefCOCO's files are not RefCOCO+'s, though of the same name
    assert 'found at' not in found['refcoco+/refs(unc).p'].note + found['refcoco+/instances.json'].note


def test_known_sets_are_those_with_official_counts():
    assert set(KNOWN_SETS) == set(OFFICIAL_COUNTS)
    assert [known.name for known in choose_sets(['refcocog'])] == ['refcocog(umd)', 'refcocog(google)']
    with pytest.raises(
        ValueError, match=r"no known data set 'refcoco-plus'; known data sets are refcoco\(unc\), refcoco\+"
    ):
        choose_sets(['refcoco-plus'])


def test_tool(tmp_path, capsys):
    write_set(tmp_path, 'refcocog', 'umd', dict(train=[1]))
    assert run_dataset_tool('prepare', tmp_path, '--sets', 'refcocog(umd)') == 1
    said = capsys.readouterr().out
    assert 'refcocog(umd): lacks coco/train2014/\n' in said and 'MISSING  coco/train2014/' in said


def test_without_a_folder_the_tool_says_what_belongs_there(tmp_path, capsys):
    assert run_dataset_tool('prepare', tmp_path / 'nowhere', '--sets', 'refcoco') == 1
    said = capsys.readouterr().out
    assert 'MISSING  refcoco/instances.json  get it from the REFER toolkit' in said
    assert f'there is no folder {tmp_path / "nowhere"} yet: create it' in said
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file is a file: give the folder of the data sets'):
        run_dataset_tool('prepare', tmp_path / 'file')

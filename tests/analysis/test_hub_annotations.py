import json

import pytest
from helpers.hub_samples import rows_of_refer, small_rows, write_parquet
from helpers.paths import MINI, needs_mini

from mmuniqrnet.analysis.hub_annotations import CATEGORIES, HUB_SETS, convert, fetch_parquet
from mmuniqrnet.datasets import ReferDataset
from mmuniqrnet.datasets.parquet_files import list_parquet
from mmuniqrnet.utils.errors import OverwriteError, UserError

ORIGIN = {'repository': 'here', 'revision': 'abc'}


def items(root, known, split):
    dataset = ReferDataset(
        ann_file=known.files[0],
        split_file=known.files[1],
        data_root=str(root),
        split=split,
        dataset_name=known.dataset_name,
        check_images=False,
    )
    return [
        {key: value for key, value in dataset.get_data_info(i).items() if key != 'img_path'}
        for i in range(len(dataset))
    ]


@needs_mini
@pytest.mark.parametrize('name', HUB_SETS)
def test_real_annotations_come_back_as_they_were(name, tmp_path):
    known = HUB_SETS[name].known
    rows = rows_of_refer(MINI / known.dataset_name, known.files[1].partition('/')[2])
    files = list_parquet(write_parquet(rows, tmp_path / 'hub'))
    assert convert(name, files, tmp_path / 'data', ORIGIN) == []
    for split in {row['split'] for row in rows}:
        found = items(tmp_path / 'data', known, split)
        assert found and found == items(MINI, known, split)


def test_what_was_fetched_is_recorded_and_nothing_is_replaced(tmp_path):
    files = list_parquet(write_parquet(small_rows(), tmp_path / 'hub'))
    convert('refcoco', files, tmp_path, ORIGIN)
    source = json.loads((tmp_path / 'refcoco' / 'source.json').read_text())
    assert source['revision'] == 'abc' and set(source['sha256']) == {file.name for file in files}
    before = {path: path.read_bytes() for path in (tmp_path / 'refcoco').iterdir()}
    assert len(before) == 3
    with pytest.raises(OverwriteError, match=r'instances.json exists already: give another name, or --overwrite'):
        convert('refcoco', files, tmp_path, ORIGIN)
    assert before == {path: path.read_bytes() for path in (tmp_path / 'refcoco').iterdir()}
    convert('refcoco', files, tmp_path, ORIGIN, overwrite=True)


def test_a_row_that_two_files_have_counts_once(tmp_path):
    rows = small_rows()
    write_parquet(rows, tmp_path / 'one')
    write_parquet(rows[:1], tmp_path / 'two')
    files = [*list_parquet(tmp_path / 'one'), *list_parquet(tmp_path / 'two')]
    assert convert('refcoco', files, tmp_path, ORIGIN) == [
        '1 rows were there twice with the same content; each is written once'
    ]
    assert [item['sent_id'] for item in items(tmp_path, HUB_SETS['refcoco'].known, ['train', 'val'])] == [
        0,
        1,
        10,
        11,
        20,
        21,
    ]


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (
            dict(bbox=[10.0, 5.0, 20.0, 30.0]),
            r'row 0: bbox \(xyxy\) is .*, but the box of raw_anns is \[10.0, 5.0, 30.0',
        ),
        (dict(ann_id=5), 'ann_id is 5, but raw_anns.id is 70'),
        (dict(image_id=5), 'image_id is 5, but raw_image_info.id is 3'),
        (dict(raw_anns='{'), "raw_anns should hold a JSON object, not '{'"),
        (dict(split='test'), "split is 'test', not one of train, val, testA, testB: is this another set"),
        (dict(sentences=[]), 'ref_id 0 has no sentences'),
    ],
)
def test_rows_that_contradict_themselves_are_named(change, says, tmp_path):
    rows = small_rows()
    rows[0] |= change
    with pytest.raises(UserError, match=says):
        convert('refcoco', list_parquet(write_parquet(rows, tmp_path / 'hub')), tmp_path, ORIGIN)
    assert not (tmp_path / 'refcoco').exists()


def test_other_files_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(UserError, match='there is no parquet file'):
        list_parquet(tmp_path)
    (tmp_path / 'broken.parquet').write_bytes(b'PAR1 cut')
    with pytest.raises(UserError, match='broken.parquet is not a readable parquet file'):
        convert('refcoco', [tmp_path / 'broken.parquet'], tmp_path / 'data', ORIGIN)
    rows = [{key: value for key, value in row.items() if key != 'raw_anns'} for row in small_rows()]
    with pytest.raises(UserError, match=r'lacks the column\(s\) raw_anns: is it a file of jxu124/refcoco'):
        convert('refcoco', list_parquet(write_parquet(rows, tmp_path / 'hub')), tmp_path / 'data', ORIGIN)
    assert not (tmp_path / 'data').exists()
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match=r'the folder .*file/refcoco can not be made \(Not a directory\)'):
        convert('refcoco', list_parquet(write_parquet(small_rows(), tmp_path / 'good')), tmp_path / 'file', ORIGIN)


def test_categories_have_cocos_numbers():
    assert len(CATEGORIES) == 80
    assert {1: 'person', 18: 'dog', 44: 'bottle', 90: 'toothbrush'}.items() <= CATEGORIES.items()


def test_without_the_hub_the_sentence_names_the_alternative(monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    with pytest.raises(UserError, match=r'hf://jxu124/refcoco@1234abc cannot be .*or give .*--from FOLDER'):
        fetch_parquet('refcoco', '1234abc')

import json

import pytest
from PIL import Image

from mmuniqrnet.apis.scale.rows import Row, RowSource
from mmuniqrnet.utils.errors import UserError


@pytest.fixture
def lines(tmp_path):
    """Write JSON Lines, and give the path."""

    def write(*records, name='rows.jsonl'):
        path = tmp_path / name
        path.write_text('\n'.join(record if isinstance(record, str) else json.dumps(record) for record in records))
        return path

    return write


def test_a_folder_gives_a_row_for_each_image_in_the_order_of_names(tmp_path):
    for name in ('b.png', 'a.png', '.hidden'):
        Image.new('RGB', (4, 4)).save(tmp_path / name, 'PNG')
    source = RowSource(tmp_path, ['a cup', ''])
    texts = ['a cup', '']
    assert list(source) == [Row(1, str(tmp_path / 'a.png'), texts), Row(2, str(tmp_path / 'b.png'), texts)]
    assert list(RowSource(tmp_path / 'b.png', ['a cup'])) == [Row(1, str(tmp_path / 'b.png'), ['a cup'])]


def test_lines_have_the_format_of_the_data_sets(lines, tmp_path):
    path = lines(
        dict(image='a.png', expressions='the cup ', bbox=[0, 0, 1, 1]),
        '',
        dict(image='/x/b.png', expressions=['one', 'two'], comment='not read'),
    )
    source = RowSource(path)
    assert list(source) == [Row(1, 'a.png', ['the cup']), Row(3, '/x/b.png', ['one', 'two'])]
    assert list(source) == list(source)
    assert source.root == tmp_path
    (tmp_path / 'photos').mkdir()
    assert RowSource(path, images=tmp_path / 'photos').root == tmp_path / 'photos'


@pytest.mark.parametrize(
    'line, message',
    [
        ('{"image": "a.png"', 'line 2: not JSON'),
        ('["a.png"]', 'line 2: not a JSON object'),
        ('{"image": "a.png", "image": "b.png", "expressions": "x"}', 'line 2: .*image'),
        ('{"image": "a.png"}', 'line 2: "expressions" is missing'),
        ('{"expressions": "x"}', 'line 2: "image" is missing'),
        ('{"image": 3, "expressions": "x"}', 'line 2: "image" should be the path'),
        ('{"image": "a.png", "expressions": []}', 'line 2: "expressions" should be'),
        ('{"image": "a.png", "expressions": ["x", " "]}', 'line 2: "expressions" has an empty'),
    ],
)
def test_a_malformed_line_is_named(lines, line, message):
    with pytest.raises(UserError, match=message):
        list(RowSource(lines('{"image": "a.png", "expressions": "x"}', line)))


def test_expressions_are_given_once(lines, tmp_path):
    path = lines(dict(image='a.png', expressions='x'))
    with pytest.raises(UserError, match='give none after it'):
        RowSource(path, ['x'])
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    with pytest.raises(UserError, match='contains no expressions'):
        RowSource(tmp_path / 'a.png')
    with pytest.raises(UserError, match='only for JSON Lines and parquet'):
        RowSource(tmp_path / 'a.png', ['x'], tmp_path)
    with pytest.raises(UserError, match='there is no such folder'):
        RowSource(path, images=tmp_path / 'none')
    with pytest.raises(FileNotFoundError, match=r'gone\.jsonl'):
        RowSource(tmp_path / 'gone.jsonl')


def test_parquet_gives_the_rows_of_its_files_in_the_order_of_names(tmp_path):
    pa, pq = pytest.importorskip('pyarrow'), pytest.importorskip('pyarrow.parquet')
    pytest.importorskip('ray')
    folder = tmp_path / 'rows'
    folder.mkdir()
    pq.write_table(pa.table(dict(image=['c.png'], expressions=['x'])), folder / '2.parquet')
    table = pa.table(dict(id=[7, 8], expressions=[['x', 'y'], ['z']], image=['a.png', 'b.png']))
    pq.write_table(table, folder / '1.parquet')
    (folder / '_SUCCESS').touch()
    source = RowSource(folder)
    assert list(source) == [Row(1, 'a.png', ['x', 'y']), Row(2, 'b.png', ['z']), Row(3, 'c.png', ['x'])]
    assert source.root == folder
    assert list(RowSource(folder / '2.parquet')) == [Row(1, 'c.png', ['x'])]
    pq.write_table(pa.table(dict(image=['a.png', None], expressions=['x', 'y'])), folder / '3.parquet')
    with pytest.raises(UserError, match=r'3\.parquet, row 2: "image" is missing'):
        list(RowSource(folder / '3.parquet'))
    pq.write_table(pa.table(dict(picture=['a.png'], expressions=['x'])), folder / '3.parquet')
    with pytest.raises(UserError, match='no column "image"'):
        list(RowSource(folder))
    (folder / '3.parquet').write_bytes(b'PAR1 is not all')
    with pytest.raises(UserError, match='cannot be read as parquet'):
        list(RowSource(folder))
    (folder / 'a.png').touch()
    with pytest.raises(UserError, match='parquet files and others'):
        RowSource(folder)

import pytest

from mmuniqrnet.apis.scale.job import Job
from mmuniqrnet.apis.scale.rows import Row
from mmuniqrnet.utils.errors import OverwriteError, UserError

ROWS = [Row(i + 1, f'{i}.png', ['a', 'b'] if i % 2 else ['ä']) for i in range(7)]
MADE_FROM = dict(weights_sha256='0' * 64, config_sha256=None, refuse_below=0.5, version='1')


def make(folder, rows=ROWS, part_rows=3, root='/pictures', **changes):
    return Job.create(folder, iter(rows), MADE_FROM | changes, root, part_rows)


def test_every_row_is_in_one_part(tmp_path):
    job = make(tmp_path / 'new' / 'out')
    assert (job.parts, job.rows, job.answers) == (3, 7, 10)
    parts = [job.rows_of(part) for part in range(job.parts)]
    assert [len(rows) for rows in parts] == [3, 3, 1]
    assert [row for rows in parts for row in rows] == ROWS
    assert {path.name for path in job.folder.iterdir()} == {'_job'}


def test_the_same_job_goes_on(tmp_path):
    job = make(tmp_path)
    assert make(tmp_path).id == make(tmp_path, part_rows=None).id == job.id


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(rows=ROWS[:-1]), 'from other images or expressions, and'),
        (dict(rows=[*ROWS[:-1], ROWS[-1]._replace(expressions=['c'])]), 'from other images or expressions, and'),
        (dict(weights_sha256='1' * 64), 'from other weights, and'),
        (dict(config_sha256='1' * 64), 'from another config, and'),
        (dict(version='2'), r'another version of mmuniqrnet \(before 1, now 2\)'),
        (dict(refuse_below=None), r'\(--refuse-below 0.5, now None\)'),
        (dict(root='/photos'), r'another folder of images \(before /pictures, now /photos\)'),
        (dict(part_rows=4), r'\(--part-rows 3, now 4\)'),
    ],
)
def test_another_job_is_refused(tmp_path, change, message):
    make(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    with pytest.raises(OverwriteError, match=message):
        make(tmp_path, **change)
    assert {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()} == before


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(OverwriteError, match='contains other files'):
        make(tmp_path)
    with pytest.raises(OverwriteError, match='is a file'):
        make(tmp_path / 'notes.txt')
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_a_start_that_fails_leaves_nothing_that_is_in_the_way(tmp_path):
    def rows():
        yield ROWS[0]
        raise UserError('line 2 is malformed')

    with pytest.raises(UserError, match='line 2'):
        make(tmp_path, rows())
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match='no rows'):
        make(tmp_path, [])
    with pytest.raises(UserError, match='not valid Unicode'):
        make(tmp_path, [Row(1, 'a\udcff.png', ['x'])])
    (tmp_path / '._job.killed').mkdir()  # by a process that was killed
    assert make(tmp_path).rows == 7

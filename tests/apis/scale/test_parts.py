import pytest

pq = pytest.importorskip('pyarrow.parquet')

from mmuniqrnet.apis.scale.parts import answer_table, read_summary, remove_unfinished, write_part  # noqa: E402

ANSWER = dict(
    key='1_0',
    image='a.png',
    image_index=0,
    expression='a cup',
    size=[4, 6],
    frame='upright',
    box=[0.5, 1.0, 2.0, 3.0],
    score=0.25,
    refused=False,
    mask=dict(size=[4, 6], counts='52203'),
    unknown_words=['cup'],
    model='photos',
    kept=None,
)
FAILED = dict(key='1_1', image='a.png', image_index=0, expression='', error='the expression is empty.')


def test_answers_are_read_as_they_were_written(tmp_path):
    write_part(tmp_path / 'part-000000.parquet', answer_table([ANSWER, FAILED]), dict(job='x', answers=2))
    answer, failed = pq.read_table(tmp_path).to_pylist()
    expected = {key: value for key, value in ANSWER.items() if key != 'image_index'}
    assert answer == dict(expected, mask='52203', error=None)
    assert {key: value for key, value in failed.items() if value is not None} == dict(
        key='1_1', image='a.png', expression='', error='the expression is empty.'
    )
    assert read_summary(tmp_path / 'part-000000.parquet') == dict(job='x', answers=2)


def test_a_part_that_is_not_complete_counts_as_missing(tmp_path):
    path = tmp_path / 'part-000000.parquet'
    assert read_summary(path) is None
    write_part(path, answer_table([ANSWER]), {})
    data = path.read_bytes()
    for cut in (0, 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        assert read_summary(path) is None
    pq.write_table(answer_table([ANSWER]), path)
    assert read_summary(path) is None


def test_a_failure_to_write_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_part(tmp_path / 'part-000000.parquet', answer_table([ANSWER]), dict(job=object()))
    assert not list(tmp_path.iterdir())
    (tmp_path / '.part-000000.parquet.0123').touch()  # of a process that was killed
    remove_unfinished(tmp_path)
    assert not list(tmp_path.iterdir())

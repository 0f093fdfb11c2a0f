import pytest
from helpers.hub_samples import small_rows, write_parquet

from mmuniqrnet.cli import main


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


def test_counts_are_compared_and_missing_images_named(tmp_path, capsys):
    write_parquet(small_rows(), tmp_path / 'hub')
    assert run('get', 'refcoco', '--from', tmp_path / 'hub', '--out', tmp_path / 'data') == 1
    told = capsys.readouterr().out
    assert '4 / 10834' in told and 'val has 2 refs, officially 3,811' in told and 'split testA is missing' in told
    assert 'coco/train2014/: get it from COCO, https://cocodataset.org' in told
    assert 'exists already' in run('get', 'refcoco', '--from', tmp_path / 'hub', '--out', tmp_path / 'data')


def test_misuse_is_one_sentence(tmp_path, capsys):
    assert '--revision is of the hub' in run('get', 'refcoco', '--from', tmp_path, '--revision', 'main')
    assert 'there is no parquet file' in run('get', 'refcoco+', '--from', tmp_path)

from pathlib import Path

import pytest

from mmuniqrnet.utils.errors import OverwriteError, UserError
from mmuniqrnet.utils.io import (
    atomic_path,
    make_folder,
    refuse_overwriting,
    safe_name,
    temporary_folder_beside,
    unique_name,
)


def test_an_existing_file_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / 'there.pth'
    path.write_text('mine')
    with pytest.raises(OverwriteError, match='there.pth exists already: give another name, or --overwrite.'):
        refuse_overwriting(path)
    with pytest.raises(OverwriteError, match='give another name, or --force.'):
        refuse_overwriting(path, option='--force')
    with pytest.raises(FileExistsError, match='give another name.$'):
        refuse_overwriting(path, option=None)
    assert refuse_overwriting(path, overwrite=True) == path
    assert path.read_text() == 'mine'
    with pytest.raises(UserError, match='no folder'):
        refuse_overwriting(tmp_path / 'none' / 'x.pth')


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'results.json'
    path.write_text('old')
    with pytest.raises(ZeroDivisionError), atomic_path(path) as part:
        part.write_text('half')
        assert path.read_text() == 'old'
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.iterdir()] == ['results.json']
    assert path.read_text() == 'old'
    with atomic_path(path) as part:
        part.write_text('new')
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [('results.json', 'new')]


def test_a_temporary_folder_vanishes_and_what_was_moved_out_stays(tmp_path):
    target = tmp_path / 'deep' / 'data'
    with pytest.raises(ZeroDivisionError), temporary_folder_beside(target) as temporary:
        (temporary / 'part').mkdir()
        (temporary / 'part').rename(target)
        (temporary / 'rest').write_text('x')
        raise ZeroDivisionError
    assert list((tmp_path / 'deep').iterdir()) == [target]
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written .*: choose another folder'):
        temporary_folder_beside(tmp_path / 'file' / 'data').__enter__()


@pytest.mark.parametrize(
    'text, max_bytes, name',
    [
        ('the man, left of the door', 80, 'the_man_left_of_the_door'),
        ('../../etc/passwd', 80, 'etc_passwd'),
        ('左边的杯子', 7, '左边'),
        ('???', 80, ''),
        ('a+b-c.d', 80, 'a+b-c.d'),
    ],
)
def test_names_are_safe_and_no_character_is_cut_in_two(text, max_bytes, name):
    assert safe_name(text, max_bytes) == name


def test_names_differ_also_where_case_does_not_count():
    taken: set[str] = set()
    names = [unique_name(name, taken) for name in ('a.b.png', 'A.b.png', 'a.b.png', 'a.b-2.png')]
    assert len({name.lower() for name in names}) == 4
    assert names[:3] == ['a.b.png', 'A.b-2.png', 'a.b-3.png']
    assert all(Path(name).suffix == '.png' for name in names)


def test_what_is_read_is_never_replaced_and_only_files_are(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('mine')
    (tmp_path / 'link.json').symlink_to(path)
    for out in (path, tmp_path / 'link.json', f'{tmp_path}/../{tmp_path.name}/a.json'):
        with pytest.raises(OverwriteError, match='is also read, and would be lost'):
            refuse_overwriting(out, overwrite=True, reads=[None, tmp_path / 'gone', path])
    assert refuse_overwriting(tmp_path / 'b.json', reads=[path, tmp_path / 'b.json']) == tmp_path / 'b.json'
    for out, reason in ((tmp_path, 'is a folder'), ('/dev/null', 'is a device'), ('', 'no name'), ('a\0b', 'no name')):
        with pytest.raises(UserError, match=reason):
            refuse_overwriting(out, overwrite=True)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'file/x can not be written \(Not a directory\)'):
        atomic_path(tmp_path / 'file' / 'x').__enter__()
    with pytest.raises(UserError, match=r'the folder .*file/x can not be made \(Not a directory\)'):
        make_folder(tmp_path / 'file' / 'x')
    assert make_folder(tmp_path / 'a' / 'b').is_dir() and make_folder(tmp_path / 'a' / 'b').is_dir()

import pytest

from mmuniqrnet.utils.picture_folder import PictureFolder


def test_pictures_of_an_earlier_time_go_and_what_is_not_listed_stays(tmp_path):
    folder = PictureFolder(tmp_path / 'a' / 'out', 'index.md', '# Mine', ' of today')
    for name in ('1.png', '2.png'):
        folder.add(name, 'a\npicture').write_bytes(b'x')
    lines = ['# Mine of today', '', '1. [1.png](1.png): a picture', '2. [2.png](2.png): a picture']
    assert folder.index.read_text().splitlines() == lines
    (folder.folder / 'notes.txt').write_text('my own')

    again = PictureFolder(folder.folder, 'index.md', '# Mine')
    assert sorted(path.name for path in again.folder.iterdir()) == ['index.md', 'notes.txt']


def test_no_two_pictures_in_one_file(tmp_path):
    folder = PictureFolder(tmp_path, 'index.md', '# Mine')
    names = [folder.add(name, '').name for name in ('a.png', 'A.png', 'a.png', 'a-2.png')]
    assert len({name.lower() for name in names}) == 4 and names[0] == 'a.png'


def test_a_folder_of_the_users_is_not_touched(tmp_path):
    (tmp_path / 'index.md').write_text('# Theirs\n1. [a.png](a.png): x\n')
    (tmp_path / 'a.png').write_text('my own')
    with pytest.raises(FileExistsError, match='is not empty and has no index.md of earlier pictures'):
        PictureFolder(tmp_path, 'index.md', '# Mine')
    with pytest.raises(FileExistsError, match='is a file, not a folder'):
        PictureFolder(tmp_path / 'a.png', 'index.md', '# Mine')
    assert (tmp_path / 'a.png').read_text() == 'my own'


def test_an_index_that_points_elsewhere_removes_nothing_there(tmp_path):
    (tmp_path / 'precious.png').write_text('my own')
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'index.md').write_text('# Mine\n\n1. [../precious.png](../precious.png): x\n2. [](): x\n3. [..](..): x\n')
    PictureFolder(out, 'index.md', '# Mine')
    assert (tmp_path / 'precious.png').is_file()

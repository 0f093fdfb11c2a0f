import numpy as np
import pytest
from PIL import Image

from mmuniqrnet.utils.errors import OverwriteError, UserError
from mmuniqrnet.utils.picture_files import PictureFolder, read_image


def test_earlier_pictures_are_removed_and_other_files_stay(tmp_path):
    folder = PictureFolder(tmp_path / 'a' / 'out', 'index.md', '# Mine', ' of today')
    for name in ('1.png', '2.png'):
        folder.add(name, 'a\npicture').write_bytes(b'x')
    lines = ['# Mine of today', '', '1. [1.png](1.png): a picture', '2. [2.png](2.png): a picture']
    assert folder.index.read_text().splitlines() == lines
    (folder.folder / 'notes.txt').write_text('my own')

    again = PictureFolder(folder.folder, 'index.md', '# Mine')
    assert sorted(path.name for path in again.folder.iterdir()) == ['index.md', 'notes.txt']


def test_no_picture_replaces_another(tmp_path):
    folder = PictureFolder(tmp_path, 'index.md', '# Mine')
    names = [folder.add(name, '').name for name in ('a.png', 'A.png', 'a.png', 'a-2.png')]
    assert len({name.lower() for name in names}) == 4 and names[0] == 'a.png'


def test_a_folder_of_the_users_is_not_touched(tmp_path):
    (tmp_path / 'index.md').write_text('# Theirs\n1. [a.png](a.png): x\n')
    (tmp_path / 'a.png').write_text('my own')
    with pytest.raises(OverwriteError, match=r'is not empty and has no index\.md of earlier pictures'):
        PictureFolder(tmp_path, 'index.md', '# Mine')
    with pytest.raises(OverwriteError, match='is a file, not a folder'):
        PictureFolder(tmp_path / 'a.png', 'index.md', '# Mine')
    assert (tmp_path / 'a.png').read_text() == 'my own'


def test_an_index_that_points_elsewhere_removes_nothing_there(tmp_path):
    (tmp_path / 'precious.png').write_text('my own')
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'index.md').write_text('# Mine\n\n1. [../precious.png](../precious.png): x\n2. [](): x\n3. [..](..): x\n')
    PictureFolder(out, 'index.md', '# Mine')
    assert (tmp_path / 'precious.png').is_file()


def test_images_are_read_as_stored_in_rgb(tmp_path):
    stored = np.zeros((24, 40, 3), np.uint8)
    stored[:, :20] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees"
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=exif)
    assert np.array_equal(read_image(tmp_path / 'a.png'), stored)
    (tmp_path / 'b.png').write_text('no image')
    with pytest.raises(UserError, match=r'b\.png cannot be decoded'):
        read_image(tmp_path / 'b.png')


def test_pictures_are_written_in_rgb(tmp_path):
    red = np.full((2, 3, 3), (255, 0, 0), np.uint8)
    path = PictureFolder(tmp_path, 'index.md', '# Mine').write('a.png', 'red', red)
    assert path == tmp_path / 'a.png' and np.array_equal(np.asarray(Image.open(path)), red)

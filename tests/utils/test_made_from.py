import json

import pytest

from mmuniqrnet.utils.errors import MissingFileError, OverwriteError, UserError
from mmuniqrnet.utils.made_from import RECORD, digest, keep_made_from

SETTINGS = {'--seed': '0', 'TRAIN.json': 'sha256:aa'}


def test_the_same_continues_and_anything_else_is_named(tmp_path):
    folder = tmp_path / 'deep' / 'out'
    assert keep_made_from(folder, SETTINGS, '--out', ['result']) is False
    (folder / 'result').write_text('x')
    assert keep_made_from(folder, SETTINGS, '--out', ['result']) is True
    for change, reason in (
        ({'--seed': '1'}, 'out was made with --seed 0, not 1: continue with the same, or give another --out'),
        ({'TRAIN.json': 'sha256:bb'}, 'out was made with another TRAIN.json'),
        ({'--more': 'x'}, '--more none, not x'),
    ):
        with pytest.raises(OverwriteError, match=reason):
            keep_made_from(folder, SETTINGS | change, '--out', ['result'])
    with pytest.raises(OverwriteError, match='--seed 0, not none'):
        keep_made_from(folder, {'TRAIN.json': 'sha256:aa'}, '--out', ['result'])
    assert json.loads((folder / RECORD).read_text()) == SETTINGS
    (folder / RECORD).write_text('{')
    with pytest.raises(UserError, match='cannot be read'):
        keep_made_from(folder, SETTINGS, '--out', ['result'])


def test_files_of_unknown_origin_are_refused(tmp_path):
    (tmp_path / 'result').write_text('x')
    with pytest.raises(OverwriteError, match='nothing says what it was made from: give another --out'):
        keep_made_from(tmp_path, SETTINGS, '--out', ['result'])
    (tmp_path / 'link').symlink_to(tmp_path / 'gone')
    with pytest.raises(OverwriteError, match='link is there'):
        keep_made_from(tmp_path, SETTINGS, '--out', ['a', 'link'])
    (tmp_path / 'empty').mkdir()
    assert keep_made_from(tmp_path, SETTINGS, '--out', ['a', 'empty']) is False


def test_a_digest_is_of_the_content(tmp_path):
    (tmp_path / 'a').write_text('x')
    (tmp_path / 'b').write_text('x')
    (tmp_path / 'c').write_text('y')
    assert digest(tmp_path / 'a') == digest(tmp_path / 'b') != digest(tmp_path / 'c')
    with pytest.raises(MissingFileError, match='there is no file'):
        digest(tmp_path / 'd')
    with pytest.raises(UserError, match='Is a directory'):
        digest(tmp_path)

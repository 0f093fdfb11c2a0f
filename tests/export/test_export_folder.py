import pytest

from mmuniqrnet.export.check import Difference, check_differences
from mmuniqrnet.export.folder import CONTENTS, new_export
from mmuniqrnet.utils.errors import UserError


def contents(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_take_their_place_when_all_went_well(tmp_path):
    with new_export(tmp_path / 'out') as new:
        (new / 'model.onnx').write_text('graph')
        assert not (tmp_path / 'out').exists()
    assert contents(tmp_path / 'out') == {'model.onnx': 'graph'}
    assert [path.name for path in tmp_path.iterdir()] == ['out']


def test_nothing_is_left_of_an_export_that_failed(tmp_path):
    with pytest.raises(UserError, match='boxes by 2.00e-03'), new_export(tmp_path / 'out') as new:
        (new / 'model.onnx').write_text('half a graph')
        check_differences([Difference('scores', 1e-6, 1e-3), Difference('boxes', 2e-3, 1e-3)])
    assert not list(tmp_path.iterdir())


def test_an_answer_that_is_no_number_is_no_agreement():
    with pytest.raises(UserError, match='boxes'):
        check_differences([Difference('boxes', float('nan'), 1e-3)])


def test_an_older_export_stays_unless_overwritten_and_then_goes_whole(tmp_path):
    for name in CONTENTS:
        (tmp_path / name).write_text('old')
    with pytest.raises(UserError, match='already contains an export'), new_export(tmp_path):
        pytest.fail('must not begin')
    assert contents(tmp_path) == dict.fromkeys(CONTENTS, 'old')
    with pytest.raises(ZeroDivisionError), new_export(tmp_path, overwrite=True) as new:
        (new / 'model.onnx').write_text('new')
        raise ZeroDivisionError
    assert contents(tmp_path) == dict.fromkeys(CONTENTS, 'old')
    with new_export(tmp_path, overwrite=True) as new:
        (new / 'model.onnx').write_text('new')
    assert contents(tmp_path) == {'model.onnx': 'new'}


@pytest.mark.parametrize('overwrite', [False, True])
def test_a_folder_with_other_files_is_left_as_it_is(overwrite, tmp_path):
    for name in ('model.onnx', 'thesis.tex'):
        (tmp_path / name).write_text('mine')
    refused = pytest.raises(UserError, match='contains thesis.tex, which is not part of an export')
    with refused, new_export(tmp_path, overwrite):
        pytest.fail('must not begin')
    assert contents(tmp_path) == {'model.onnx': 'mine', 'thesis.tex': 'mine'}


def test_where_no_folder_can_be_is_said(tmp_path):
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(UserError, match='is a file'), new_export(tmp_path / 'file'):
        pass
    with pytest.raises(UserError, match='there is no folder'), new_export(tmp_path / 'no' / 'such'):
        pass

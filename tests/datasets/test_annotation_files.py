import collections
import io
import os
import pickle
import pickletools

import numpy as np
import pytest

from mmuniqrnet.datasets.annotation_files import UnsafePickleError, load_json, load_plain_pickle
from mmuniqrnet.utils.errors import UserError

PLAIN = [dict(ref_id=2**40, ann_id=-1, area=1.5, flag=True, none=None, tokens=['a', 'é'], pair=(1, b'x'), set={1, 2})]


class CreateFile:
    """Runs a command when an ordinary unpickler reads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


def write(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return str(path)


# Below protocol 4 Python 3 writes bytes and sets by calling functions, which Python 2 never did for its plain values.
@pytest.mark.parametrize('protocol', [4, 5])
def test_plain_values_are_read(tmp_path, protocol):
    assert load_plain_pickle(write(tmp_path / 'refs.p', PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize('protocol', [0, 1, 2])
def test_python2_protocols(tmp_path, protocol):
    plain = [{key: value for key, value in PLAIN[0].items() if key not in ('pair', 'set')}]
    assert load_plain_pickle(write(tmp_path / 'refs.p', plain, protocol)) == plain


@pytest.mark.parametrize(
    'python2, text',
    [
        (b"(lp0\nS'left man'\np1\na.", 'left man'),
        (b'\x80\x02]q\x00U\x05caf\xc3\xa9q\x01a.', 'café'),
        (b'\x80\x02]q\x00U\x04caf\xe9q\x01a.', 'café'),
    ],
    ids=['ascii', 'utf-8', 'latin-1'],
)
def test_python2_byte_strings_become_text(tmp_path, python2, text):
    pickletools.dis(python2, io.StringIO())  # a valid pickle
    (tmp_path / 'refs.p').write_bytes(python2)
    assert load_plain_pickle(str(tmp_path / 'refs.p')) == [text]


@pytest.mark.parametrize('protocol', range(6))
def test_malicious_pickle_is_refused_and_runs_nothing(tmp_path, protocol):
    trace = tmp_path / 'trace'
    path = write(tmp_path / 'refs.p', [dict(ref_id=1), CreateFile(trace)], protocol)
    with pytest.raises(UnsafePickleError, match=r'refs\.p was refused.*`(posix|nt)\.system`'):
        load_plain_pickle(path)
    assert not trace.exists()
    with open(path, 'rb') as file:  # it was dangerous indeed
        pickle.load(file)
    assert trace.exists()


@pytest.mark.parametrize(
    'value, name',
    [
        (collections.OrderedDict(a=1), 'collections.OrderedDict'),
        (np.float64(1), 'scalar'),
        (eval, 'eval'),
        (getattr, 'getattr'),
    ],
)
def test_any_global_is_refused_by_name(tmp_path, value, name):
    with pytest.raises(UnsafePickleError, match=name):
        load_plain_pickle(write(tmp_path / 'refs.p', [value]))


@pytest.mark.parametrize(
    'content',
    [b'', b'<!DOCTYPE html><html>not found</html>', pickle.dumps(PLAIN, 4)[:-20]],
    ids=['empty', 'web page', 'cut off'],
)
def test_no_pickle(tmp_path, content):
    (tmp_path / 'refs.p').write_bytes(content)
    with pytest.raises(ValueError, match='refs.p is not a readable pickle'):
        load_plain_pickle(str(tmp_path / 'refs.p'))


@pytest.mark.parametrize('opcodes', [b'\x80\x02\x82\x01.', b'\x80\x02Pid\n.'], ids=['extension', 'persistent id'])
def test_other_ways_to_objects_are_refused(tmp_path, opcodes):
    (tmp_path / 'refs.p').write_bytes(opcodes)
    with pytest.raises(ValueError, match='refs.p'):
        load_plain_pickle(str(tmp_path / 'refs.p'))


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_json_with_and_without_a_byte_order_mark(tmp_path, encoding):
    (tmp_path / 'a.json').write_text('{"cup": ["é"]}', encoding=encoding)
    assert load_json(str(tmp_path / 'a.json')) == {'cup': ['é']}


@pytest.mark.parametrize(
    'content, reason',
    [
        ('{}'.encode('utf-16'), 'UTF-16 text; save it as UTF-8'),
        (b'{"a": "\xff"}', 'byte 7 is not UTF-8'),
        (b'{"a": "images\\cup.jpg"}', r'Invalid \\escape.*write paths with /'),
        (b'{"a": 1, "b": 2, "a": 3}', 'the key "a" is given twice'),
        (b'[' * 100_000, 'nested too deeply'),
        (b'{"a": 12,\n"b": ' + b'1' * 5000 + b'}', 'the number at line 2 has 5000 digits: correct it'),
    ],
)
def test_json_that_cannot_be_read(tmp_path, content, reason):
    (tmp_path / 'a.json').write_bytes(content)
    with pytest.raises(UserError, match=f'a.json.*{reason}'):
        load_json(str(tmp_path / 'a.json'))

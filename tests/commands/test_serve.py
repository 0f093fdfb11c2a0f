"""The options of ``mmuniqrnet serve``, and what it says before it serves."""

import argparse
import socket
from importlib.util import find_spec

import pytest

from mmuniqrnet.cli import make_parser
from mmuniqrnet.commands import serve
from mmuniqrnet.serving.address import listen, note_of
from mmuniqrnet.serving.models import OnnxModel
from mmuniqrnet.utils.errors import UserError

needs_serve = pytest.mark.skipif(
    any(find_spec(name) is None for name in serve.PACKAGES), reason=f"needs the extra 'serve': {serve.PACKAGES}"
)


def parsed(*words: str) -> argparse.Namespace:
    return make_parser().parse_args(['serve', *words])


@needs_serve
@pytest.mark.parametrize(
    'words, sentence',
    [
        ('--port -1', '--port -1: it must be at least 0'),
        ('--port 70000', '--port 70000: it must be at most 65535'),
        ('--max-batch 0', '--max-batch 0: it must be at least 1'),
        ('--max-queue 0', '--max-queue 0: it must be at least 1'),
        ('--max-wait-ms nan', '--max-wait-ms nan: it must be at least 0'),
        ('--max-upload-mb 0', '--max-upload-mb 0: it must be more than 0'),
        ('--max-megapixels -1', '--max-megapixels -1: it must be more than 0'),
        ('--timeout inf', '--timeout inf: it must be more than 0'),
        ('--onnx a --weights b', '--onnx is a network by itself: leave out --weights and --config'),
        ('--weights nowhere.safetensors', r'nowhere\.safetensors'),
        ('--device nonsense', "there is no device 'nonsense'"),
        ('--device=', "there is no device ''"),
    ],
)
def test_what_is_wrong_is_one_sentence(words, sentence):
    args = parsed(*words.split())
    with pytest.raises(UserError, match=sentence):
        args.run(args)


def test_without_the_extra_the_fix_is_told(monkeypatch):
    monkeypatch.setattr(serve, 'PACKAGES', ('json', 'no_such_package'))
    with pytest.raises(
        UserError, match=r"no_such_package, which is not installed: `pip install 'mmuniqrnet\[serve\]'`"
    ):
        serve.serve(parsed())


def test_a_port_that_is_taken_is_told():
    with listen('127.0.0.1', 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f'nothing can be served at 127.0.0.1:{port} .*--port {port + 1}'):
            listen('127.0.0.1', port)
    with pytest.raises(UserError, match="there is no address 'no host' to serve at"):
        listen('no host', 80)


def test_ipv6_is_served_where_there_is_any():
    if not socket.has_ipv6:
        pytest.skip('needs IPv6')
    try:
        listener = listen('::1', 0)
    except UserError:
        pytest.skip('needs an IPv6 address')
    with listener:
        socket.create_connection(listener.getsockname()[:2]).close()


def test_an_open_address_is_noted():
    assert note_of('127.0.0.1') is None
    assert note_of('0.0.0.0') == 'Anyone who can reach this machine can use it, without a password.'


@pytest.mark.skipif(find_spec('onnxruntime') is None, reason='needs onnxruntime')
def test_an_export_that_is_none_is_told(tmp_path):
    with pytest.raises(UserError, match='can not be used as an export: .* has no model.onnx'):
        OnnxModel(str(tmp_path))
    for name in ('model.onnx', 'tokenizer.json', 'preprocess.json'):
        (tmp_path / name).write_text('{}')
    with pytest.raises(UserError, match='can not be used as an export'):
        OnnxModel(str(tmp_path))
    with pytest.raises(UserError, match="there is no device 'cuda:a' for an export"):
        OnnxModel(str(tmp_path), 'cuda:a')

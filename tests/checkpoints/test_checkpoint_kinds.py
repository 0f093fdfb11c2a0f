"""Files that are not the checkpoint which their name promises, through this package's reader and mmengine's loader."""

import http.server
import threading
from pathlib import Path

import pytest
import torch
from mmengine.runner.checkpoint import _load_checkpoint
from safetensors.torch import save_file

from mmuniqrnet.checkpoints import read_checkpoint
from mmuniqrnet.utils.errors import CheckpointError

WEIGHTS = dict(state_dict=dict(weight=torch.arange(6.0).reshape(2, 3)))
POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n'
PAGE = '\n<!DOCTYPE html><html><body>404</body></html>'


@pytest.fixture(params=['.pth', '.safetensors'])
def bad(request, tmp_path):
    def make(kind: str) -> Path:
        path = tmp_path / f'weights{request.param}'
        if kind == 'cut off':
            torch.save(WEIGHTS, tmp_path / 'whole.pth')
            path.write_bytes((tmp_path / 'whole.pth').read_bytes()[:700])
        elif kind == 'folder':
            path.mkdir()
        elif kind != 'missing':
            path.write_text(dict(pointer=POINTER, page=PAGE, empty='', text='weights')[kind])
        return path

    return make


@pytest.mark.parametrize('read', [read_checkpoint, lambda path: _load_checkpoint(str(path), map_location='cpu')])
@pytest.mark.parametrize(
    'kind, said',
    [
        ('pointer', 'is a Git LFS pointer.*git lfs pull'),
        ('page', 'is a web page'),
        ('empty', 'is empty'),
        ('cut off', 'is cut off'),
        ('missing', 'there is no checkpoint'),
        ('folder', 'is a folder'),
        ('text', 'damaged'),
    ],
)
def test_what_a_file_is_instead_is_said(bad, kind, said, read):
    path = bad(kind)
    with pytest.raises(CheckpointError, match=said) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The address of a folder that a server of this process serves; downloads are kept in another."""
    folder = tmp_path / 'served'
    folder.mkdir()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = lambda *args: http.server.SimpleHTTPRequestHandler(*args, directory=str(folder))  # noqa: E731
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors'])
def test_addresses_are_read_as_files_are(served, name):
    folder, address = served
    if name.endswith('.pth'):
        torch.save(WEIGHTS, folder / name)
    else:
        save_file(WEIGHTS['state_dict'], folder / name)
    for _ in range(2):  # the second time from the cache
        found = _load_checkpoint(f'{address}/{name}', map_location='cpu')['state_dict']
        assert torch.equal(found['weight'], WEIGHTS['state_dict']['weight'])
    assert torch.equal(read_checkpoint(f'{address}/{name}')['state_dict']['weight'], found['weight'])


def test_addresses_that_give_no_checkpoint(served):
    folder, address = served
    with pytest.raises(CheckpointError, match=f'{address}/gone.pth was not downloaded .*404'):
        read_checkpoint(f'{address}/gone.pth')
    (folder / 'page.pth').write_text(PAGE)
    with pytest.raises(
        CheckpointError, match='page.pth is not a checkpoint.* remove the cached file .*page.pth before'
    ):
        read_checkpoint(f'{address}/page.pth')

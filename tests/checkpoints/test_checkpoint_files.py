import argparse
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of, write_checkpoint
from mmuniqrnet.utils.errors import CheckpointError

WEIGHTS = {'a.weight': torch.arange(6.0).view(2, 3), 'a.bias': torch.ones(2)}


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize('zipped', [True, False])
def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path, zipped):
    path = tmp_path / 'bomb.pth'
    torch.save(dict(model=WEIGHTS, args=Bomb(tmp_path / 'ran')), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r'bomb\.pth was not read: it refers to .*could run code'):
        read_checkpoint(path)
    assert not (tmp_path / 'ran').exists()


def test_getattr_reaches_nothing_but_statistics(tmp_path):
    """mmengine's log histories pickle as ``getattr(HistoryBuffer, 'mean')``; no other use of it is let through."""

    class Reach:
        def __reduce__(self):
            return getattr, (HistoryBuffer, '__init__')

    path = tmp_path / 'reach.pth'
    torch.save(dict(model=WEIGHTS, x=Reach()), path)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_published_file_with_its_namespace_is_read(tmp_path):
    path = tmp_path / 'qrnet.pth'
    args = argparse.Namespace(lr=1e-4, device='cuda', sizes=[1, 2])
    torch.save(dict(model=WEIGHTS, args=args, epoch=3, val_accu=np.float64(0.5)), path)
    checkpoint = read_checkpoint(path)
    assert checkpoint['args'] == args and checkpoint['val_accu'] == 0.5
    assert torch.equal(state_dict_of(checkpoint)['a.weight'], WEIGHTS['a.weight'])


def test_safetensors_are_read(tmp_path):
    path = tmp_path / 'x.safetensors'
    save_file(WEIGHTS, path)
    state = state_dict_of(read_checkpoint(path))
    assert set(state) == set(WEIGHTS) and torch.equal(state['a.weight'], WEIGHTS['a.weight'])


@pytest.mark.parametrize(
    'name, content',
    [
        ('a.pth', b'not a checkpoint'),
        ('b.pth', b''),
        ('c.safetensors', b'not a checkpoint'),
        ('d.pth', pickle.dumps([1, 2])),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(path)


def test_a_cut_file_is_named(tmp_path):
    path = tmp_path / 'cut.pth'
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r'cut\.pth is cut off'):
        read_checkpoint(path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r'there is no checkpoint .*gone\.pth'):
        read_checkpoint(tmp_path / 'gone.pth')


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: dict(state_dict=state, meta={}),
        lambda state: dict(model=state, epoch=1),
        lambda state: dict(model={f'module.{name}': value for name, value in state.items()}),
    ],
)
def test_weights_are_found_wherever_they_lie(wrap):
    state = state_dict_of(wrap(WEIGHTS))
    assert list(state) == list(WEIGHTS) and all(state[name] is WEIGHTS[name] for name in WEIGHTS)


def test_a_checkpoint_without_weights_is_refused():
    with pytest.raises(CheckpointError, match="x.pth contains no weights.*'epoch'"):
        state_dict_of(dict(epoch=3), 'x.pth')


def test_safetensors_go_out_and_come_in_again(tmp_path):
    path = tmp_path / 'x.safetensors'
    shared = torch.arange(6.0)
    state = {'a': shared, 'b': shared[2:], 'c': torch.arange(6).view(2, 3).T}  # two share memory, one is turned
    write_checkpoint(dict(meta=dict(seed=3, config='x = 1'), state_dict=state), path)
    again = read_checkpoint(path)
    assert set(again['state_dict']) == set(state)
    assert all(torch.equal(again['state_dict'][name], value) for name, value in state.items())
    assert again['meta'] == dict(seed='3', config='x = 1', cfg='x = 1')
    plain = tmp_path / 'plain'
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_what_safetensors_can_not_hold_is_not_left_out_in_silence(tmp_path):
    with pytest.raises(CheckpointError, match=r"x.safetensors cannot be safetensors.*'optimizer'.*\.pth"):
        write_checkpoint(dict(state_dict=WEIGHTS, optimizer=dict(lr=1)), tmp_path / 'x.safetensors')
    assert list(tmp_path.iterdir()) == []


def test_mmengine_reads_safetensors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(dict(state_dict=WEIGHTS), Path('x.safetensors'))
    layer = torch.nn.ModuleDict(dict(a=torch.nn.Linear(3, 2)))
    for name in ('x.safetensors', str(tmp_path / 'x.safetensors')):
        torch.nn.init.zeros_(layer['a'].weight)
        load_checkpoint(layer, name)
        assert torch.equal(layer['a'].weight, WEIGHTS['a.weight'])
    # addresses go their own way
    assert CheckpointLoader._get_checkpoint_loader('https://host/x.safetensors').__name__ == 'load_from_http'


def test_a_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_checkpoint(dict(x=lambda: None), tmp_path / 'x.pth')
    assert list(tmp_path.iterdir()) == []


def test_reading_leaves_what_mmengine_needs_allowed(tmp_path):
    torch.save(dict(state_dict=dict(weight=torch.ones(2))), tmp_path / 'plain.pth')
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(str(tmp_path / 'plain.pth'))
    assert before and set(torch.serialization.get_safe_globals()) >= before

"""Weights by address, from a cache of the hub as its client lays it out; no network."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers.paths import ROOT
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.apis.shipped import shipped_weights
from mmuniqrnet.checkpoints import read_checkpoint
from mmuniqrnet.utils.errors import UserError

COMMIT = '0123456789abcdef0123456789abcdef01234567'


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A function that puts files into the cached snapshot of hf://org/name."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    root = tmp_path / 'models--org--name'
    (root / 'refs').mkdir(parents=True)
    (root / 'refs' / 'main').write_text(COMMIT)
    snapshot = root / 'snapshots' / COMMIT
    snapshot.mkdir(parents=True)

    def add(name: str) -> Path:
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        return snapshot / name

    return add


def weights(path: Path, value: float) -> None:
    save_file({'layer.weight': torch.full((2,), value)}, path)


@pytest.mark.parametrize('address', ['hf://org/name', 'hf://org/name@main', f'hf://org/name@{COMMIT}'])
def test_the_only_file_is_taken(address, repository):
    weights(repository('anything.safetensors'), 1.0)
    assert torch.equal(read_checkpoint(address)['state_dict']['layer.weight'], torch.ones(2))
    assert torch.equal(CheckpointLoader.load_checkpoint(address)['state_dict']['layer.weight'], torch.ones(2))


def test_of_several_files_one_is_named(repository):
    weights(repository('a.safetensors'), 1.0)
    weights(repository('sub/b.safetensors'), 2.0)
    with pytest.raises(UserError, match=r'has 2 files of weights \(a.safetensors, sub/b.safetensors\): name one'):
        read_checkpoint('hf://org/name')
    assert read_checkpoint('hf://org/name/sub/b.safetensors')['state_dict']['layer.weight'][0] == 2
    weights(repository('model.safetensors'), 3.0)
    assert read_checkpoint('hf://org/name')['state_dict']['layer.weight'][0] == 3


def test_pickles_of_strangers_are_not_read(repository):
    repository('pytorch_model.bin').write_bytes(b'anything')
    with pytest.raises(UserError, match=r'hf://org/name has no .safetensors file. A pickle .* is not read'):
        read_checkpoint('hf://org/name')
    with pytest.raises(UserError, match=r'only .safetensors files are read'):
        read_checkpoint('hf://org/name/pytorch_model.bin')


def test_what_the_cache_does_not_have_is_one_sentence(repository):
    with pytest.raises(UserError, match=r'hf://org/other cannot be downloaded .*, or give a checkpoint file that you'):
        read_checkpoint('hf://org/other')
    weights(repository('model.safetensors'), 1.0)
    with pytest.raises(UserError, match=r'the repository has no file other.safetensors'):
        read_checkpoint('hf://org/name/other.safetensors')


def test_a_published_model_answers_by_its_address(repository):
    shutil.copyfile(shipped_weights('shapes'), repository('model.safetensors'))
    picture = next((ROOT / 'tests' / 'data' / 'refer_mini').rglob('*.jpg'))
    here, there = (
        UniQRNetInferencer(weights=where, show_progress=False)(str(picture), 'red circle')['predictions'][0]
        for where in ('shapes', 'hf://org/name')
    )
    assert there == here | dict(model='hf://org/name')

from pathlib import Path

import pytest
from mmengine.config import Config

from mmuniqrnet.checkpoints import CheckpointError
from mmuniqrnet.checkpoints.carried_config import config_of

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.mark.parametrize('name', ['uniqrnet_swin-nano_refshapes', 'uniqrnet_swin-b_mixed'])
def test_what_mmengine_writes_is_read_as_mmengine_reads_it(name):
    text = Config.fromfile(CONFIGS / f'{name}.py').pretty_text
    assert config_of(dict(meta=dict(cfg=text)), 'x.pth').to_dict() == Config.fromstring(text, '.py').to_dict()


def test_values_of_every_kind():
    values = dict(a=-1.5, b=None, c=[True, (1,), ()], d={'two words': {3: 'x' * 200}}, e=dict(f='it\'s "quoted"'))
    text = Config(values).pretty_text
    assert config_of(dict(meta=dict(cfg=text)), 'x.pth').to_dict() == values


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        'x = open("{file}", "w")',
        'x = dict(a=__import__("os"))',
        'x = dict(**y)',
        'x = [].append',
        'x: int = 3',
        'x = y = 3',
        'x = dict(open("{file}", "w"))',
        'x = (',
        'for x in y: pass',
        'x = f"{{open(1)}}"',
    ],
)
def test_code_is_refused_and_not_run(text, tmp_path):
    file = tmp_path / 'ran'
    with pytest.raises(CheckpointError, match='the config stored in x.safetensors was not read, .*; name a config'):
        config_of(dict(meta=dict(cfg=text.format(file=file))), 'x.safetensors')
    assert not file.exists()


def test_a_checkpoint_without_a_config_has_none():
    assert config_of(dict(state_dict={}), 'x.pth') is None
    assert config_of(dict(meta=dict(epoch=1)), 'x.pth') is None

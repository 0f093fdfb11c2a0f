"""What the comments of the configs offer to be changed changes, from --cfg-options and from a config of one's own."""

import ast
import re
from argparse import ArgumentParser
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from helpers.config_samples import build_without_memory
from helpers.paths import ROOT
from mmengine.config import Config, DictAction
from mmengine.registry import DefaultScope

from mmuniqrnet.config import load_config
from mmuniqrnet.utils.errors import UserError

CONFIGS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ('', 'pretrain')
    for path in (ROOT / 'configs' / folder).glob('*.py')
)
# What the comments write for a value, and one to set.
VALUES = dict(FILE='some/weights.pth', FOLDER='some/folder', DIR='some/data/', N='7', X='0.25')
# What a base offers and a config on it replaces by something else: the option is refused there.
REPLACED = {
    'configs/eval_all_uniqrnet_swin-b.py': {'model.backbone.init_cfg.checkpoint'},
    'configs/eval_corrected-labels_uniqrnet_swin-b.py': {'model.backbone.init_cfg.checkpoint'},
    'configs/uniqrnet_swin-b_mixed.py': {f'{part}_dataloader.dataset.data_root' for part in ('train', 'val', 'test')},
}

# What a config has at another place than its base says: its own comment names that place.
ELSEWHERE = {'configs/uniqrnet_query-modulated-r50_refcoco.py': {'model.backbone.init_cfg.checkpoint'}}


@pytest.fixture(autouse=True)
def no_default_scope():
    yield
    DefaultScope._instance_dict.clear()


def offers(path: Path) -> dict[str, str]:
    """The paths that the comments of a config and of its bases name, and the value that each is set to here."""
    text = path.read_text()
    found = {}
    for comment in re.findall(r'^ *# *(.*)$', text, re.MULTILINE):
        for key, value in re.findall(r'([a-z_]+(?:\.\w+)+)=([\w\[\]]+)', comment):
            found[key] = re.sub(r'\b[A-Z]+\b', lambda name: VALUES[name[0]], value)
    bases = [
        node.value for node in ast.parse(text).body if isinstance(node, ast.Assign) and node.targets[0].id == '_base_'
    ]
    for base in (
        ast.literal_eval(bases[0]) if bases and isinstance(bases[0], ast.List) else map(ast.literal_eval, bases)
    ):
        if not base.startswith('mmdet::'):
            found = offers(path.parent / base) | found
    return found


def parsed(options: dict[str, str]) -> dict[str, Any]:
    """As the command line gives them."""
    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *(f'{key}={value}' for key, value in options.items())]).cfg_options


def value_at(cfg: Any, key: str) -> Any:
    for step in key.split('.'):
        cfg = cfg[int(step)] if isinstance(cfg, list) else cfg.get(step)
    return cfg


def child_text(base: Path, options: dict[str, Any]) -> str:
    """A config on top of another that sets these, as one would write it: a list is given whole."""
    whole, changes = Config.fromfile(base).to_dict(), {}
    for key, value in options.items():
        old, new, steps = whole, changes, key.split('.')
        for i, step in enumerate(steps):
            if isinstance(old, list):
                step = int(step)
            elif isinstance(old.get(step), list) and i < len(steps) - 1:
                new.setdefault(step, deepcopy(old[step]))
            elif i < len(steps) - 1:
                new.setdefault(step, {})
            if i == len(steps) - 1:
                new[step] = value
            else:
                old, new = old[step], new[step]
    return '\n'.join([f'_base_ = {str(base)!r}', *(f'{name} = {value!r}' for name, value in changes.items())])


@pytest.mark.parametrize('path', CONFIGS)
def test_what_the_comments_offer_takes_effect(path, tmp_path):
    not_here = REPLACED.get(path, set()) | ELSEWHERE.get(path, set())
    options = {key: value for key, value in offers(ROOT / path).items() if key not in not_here}
    assert options, f'{path} says nothing about what may be changed'
    # One that switches off what others set up is given by itself.
    alone = {key for key in options if any(other.startswith(f'{key}.') for other in options)}
    together = {key: value for key, value in options.items() if key not in alone}
    for given in (together, *({key: options[key]} for key in alone)):
        takes_effect(path, given, tmp_path)


def takes_effect(path: str, options: dict[str, str], folder: Path) -> None:
    values, before = parsed(options), Config.fromfile(ROOT / path)
    assert all(value_at(before, key) != value for key, value in values.items())
    by_options = load_config(str(ROOT / path), values)
    (folder / 'mine.py').write_text(child_text(ROOT / path, values))
    by_child = Config.fromfile(folder / 'mine.py')
    for key, value in values.items():
        assert value_at(by_options, key) == value_at(by_child, key) == value, key
    # Nothing else changed.
    for cfg in (by_options, by_child):
        changed = {name for name in before if cfg.get(name) != before[name]}
        assert changed == {key.partition('.')[0] for key in values}


@pytest.mark.parametrize('path', CONFIGS)
def test_every_config_says_at_its_head_what_to_change(path):
    head = (ROOT / path).read_text().partition(' = dict(')[0]
    assert 'To change: ' in head


@pytest.mark.parametrize('path, key', [(path, key) for path, keys in REPLACED.items() for key in sorted(keys)])
def test_what_a_config_replaces_is_refused_there(path, key):
    with pytest.raises(UserError, match=re.escape(key)):
        load_config(str(ROOT / path), {key: 'somewhere'})


def test_old_names_of_bases_give_the_same_and_a_warning(tmp_path):
    """As the recipes' page wrote them: Swin-S with QRNet's schedule, and no weights to start from."""
    text = ''.join(
        f"'{ROOT}/configs/_base_/{name}.py'," for name in ('default_runtime', 'refcoco', 'schedule', 'uniqrnet')
    )
    best = "default_hooks = dict(checkpoint=dict(save_best='refcoco/val/mIoU', rule='greater'))"
    (tmp_path / 'old.py').write_text(f'_base_ = [{text}]\n{best}\nwork_dir = None')
    with pytest.warns(DeprecationWarning, match='will be deprecated') as warned:
        old = load_config(str(tmp_path / 'old.py')).to_dict()
    names = ['datasets/refcoco', 'schedules/180e_drop-60', 'models/uniqrnet_swin-s']
    said = [str(warning.message) for warning in warned if '_base_' in str(warning.message)]
    assert [f'Please use _base_/{name}.py instead' in one for name, one in zip(names, said)] == [True] * 3
    text = ''.join(f"'{ROOT}/configs/_base_/{name}.py'," for name in ('default_runtime', *names))
    (tmp_path / 'new.py').write_text(f'_base_ = [{text}]\n{best}\nwork_dir = None')
    new = load_config(str(tmp_path / 'new.py')).to_dict()
    assert new['model']['backbone'].pop('init_cfg')
    assert {**old, 'swin': new['swin'], 'work_dir': new['work_dir']} == new

    (tmp_path / 'old.py').write_text(f"_base_ = '{ROOT}/configs/_base_/ten_sets.py'")
    with pytest.warns(DeprecationWarning, match='Please use _base_/datasets/ten_sets.py instead'):
        old = load_config(str(tmp_path / 'old.py'))
    assert old.test_dataloader == Config.fromfile(ROOT / 'configs/eval_all_uniqrnet_swin-b.py').test_dataloader


@pytest.mark.parametrize('path', ['configs/uniqrnet_swin-b_refcoco.py', 'configs/eval_all_uniqrnet_swin-b.py'])
def test_number_of_tokens_is_what_both_paths_say(path):
    options = {'model.text_encoder.max_length': 40, 'model.head.encoder.num_text_tokens': 40}
    assert options.keys() <= offers(ROOT / path).keys()
    plain, longer = (build_without_memory(load_config(str(ROOT / path), given).model) for given in ({}, options))
    assert (plain.text_encoder.max_length, longer.text_encoder.max_length) == (20, 40)
    # [REG], the tokens, and the cells of the two levels.
    rows = [model.head.encoder.position.num_embeddings for model in (plain, longer)]
    assert rows == [1 + 20 + 500, 1 + 40 + 500]

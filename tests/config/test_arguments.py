"""Which arguments a part of a config takes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmseg.models import FPNHead
from torch import nn

from mmuniqrnet.config import arguments_of, find_part
from mmuniqrnet.models import QRNetSwin

CONFIGS = Path(__file__).parents[2] / 'configs'


class Base(nn.Module):
    def __init__(self, width: int = 1) -> None:
        super().__init__()


class PassesOn(Base):
    def __init__(self, *parts, height: int = 1, **others) -> None:
        self.depth = others.pop('depth', 1)
        super().__init__(**others)


class Keeps(Base):
    def __init__(self, height: int = 1, **others) -> None:
        super().__init__()
        self.others = others


class Ignores(Base):
    def __init__(self, height: int = 1, **others) -> None:
        super().__init__()


class Reads(Base):
    def __init__(self, height: int = 1, **others) -> None:
        super().__init__()
        self.size = others.get('depth', 1) + others['breadth']


class PassesToNoOne(nn.Module):
    def __init__(self, height: int = 1, **others) -> None:
        super().__init__(**others)


def test_a_name_means_the_part_of_its_place():
    assert find_part('AdamW', ('optim_wrapper', 'optimizer')) is torch.optim.AdamW
    assert find_part('mmseg.FPNHead', ('model',)) is FPNHead
    assert find_part('QRNetSwin', ('model', 'backbone')) is find_part('mmuniqrnet.QRNetSwin') is QRNetSwin
    # A transform and a sampler of a loader's data set, not another data set.
    assert find_part('Resize', ('train_dataloader', 'dataset', 'pipeline')).__module__.startswith('mmcv.transforms')
    # mmdet has a Resize of its own, and it is the one meant in its configs.
    assert find_part('Resize', ('pipeline',), scope='mmdet').__module__.startswith('mmdet')
    assert find_part('Pretrained', ('model', 'backbone', 'init_cfg')).__name__ == 'CheckedPretrainedInit'
    assert find_part('dwa', ('custom_hooks', 'strategy')).__name__ == 'DynamicWeightAverage'


@pytest.mark.parametrize('kind', ['NoSuchPart', 'nopackage.NoSuchPart', 'mmdet.NoSuchPart'])
def test_what_is_not_registered_is_not_found_and_may_take_anything(kind):
    assert find_part(kind, ('model',)) is None
    assert arguments_of(dict(type=kind), ('model',)) is None


@pytest.mark.parametrize(
    'part, names',
    [
        (Base, {'width'}),
        (PassesOn, {'width', 'height', 'depth'}),
        (PassesToNoOne, {'height'}),
        (Ignores, {'height'}),
        (Reads, {'height', 'depth', 'breadth'}),
        (Keeps, None),
    ],
)
def test_keywords_are_followed_where_they_are_passed_on(part, names):
    assert arguments_of(dict(type=part)) == names


def test_keywords_that_go_elsewhere():
    hook = arguments_of(dict(type=CheckpointHook))
    assert {'interval', 'save_best', 'meta'} <= hook and 'intervals' not in hook
    ema = dict(type='EMAHook')
    assert {'ema_type', 'momentum', 'interval'} <= arguments_of(ema)
    assert 'gamma' not in arguments_of(ema) and 'gamma' in arguments_of(ema | dict(ema_type='MomentumAnnealingEMA'))
    assert arguments_of(ema | dict(ema_type='NoSuchAverage')) is None


def test_what_is_taken_before_a_part_is_built_belongs_to_its_place_alone():
    optim_wrapper = dict(type='OptimWrapper')
    assert {'constructor', 'paramwise_cfg', 'clip_grad'} <= arguments_of(optim_wrapper, ('optim_wrapper',))
    assert 'constructor' not in arguments_of(dict(type='AdamW'), ('optim_wrapper', 'optimizer'))
    assert 'priority' in arguments_of(dict(type='EMAHook'), ('default_hooks', 'ema'))


def parts_of(value: object, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Every dict with a ``type``, and the keys on the way to it."""
    if isinstance(value, dict):
        if 'type' in value:
            yield place, value
        for key, inner in value.items():
            yield from parts_of(inner, (*place, key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from parts_of(inner, place)


@pytest.mark.parametrize('path', [*CONFIGS.glob('*.py'), *CONFIGS.glob('pretrain/*.py')], ids=lambda p: p.stem)
def test_parts_of_every_config_take_what_they_are_given(path):
    cfg = Config.fromfile(path).to_dict()
    parts = list(parts_of(cfg))
    assert len(parts) > 10
    for place, part in parts:
        known = arguments_of(part, place, cfg['default_scope'])
        if part['type'] in ('RoIAlign', 'nms'):  # mmdet takes them from mmcv.ops, and they are in no registry
            assert known is None
            continue
        assert known is not None and part.keys() <= known | {'type', '_scope_'}, part['type']

"""A metric of which mmengine does not know whether more or less is better is refused in one sentence."""

import pytest
from mmengine.config import Config

from mmuniqrnet.config import check_best_rules
from mmuniqrnet.utils.errors import UserError


def check(**hook) -> None:
    check_best_rules(Config(dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', **hook)))))


@pytest.mark.parametrize(
    'hook',
    [
        dict(),
        dict(save_best='refcoco/val/mIoU'),
        dict(save_best=['refcoco/val/mIoU', 'refcoco/val/Acc@0.5', 'mean/mIoU', 'mean/Acc@0.5']),
        dict(save_best='refcoco/val/oIoU', rule='greater'),
        dict(save_best=['refcoco/val/oIoU', 'refcoco/val/ECE'], rule=['greater', 'less']),
        dict(save_best='auto'),
    ],
)
def test_known_rules(hook):
    check(**hook)


@pytest.mark.parametrize(
    'hook',
    [
        dict(save_best='refcoco/val/oIoU'),
        dict(save_best=['refcoco/val/mIoU', 'refcoco/val/ECE']),
        dict(save_best='refcoco/val/mIoU', rule='more'),
    ],
)
def test_unknown_rules(hook):
    with pytest.raises(UserError, match=r'default_hooks.checkpoint.save_best=.*set default_hooks.checkpoint.rule to'):
        check(**hook)


def test_early_stopping_among_the_custom_hooks():
    hooks = [dict(type='EMAHook'), dict(type='mmengine.EarlyStoppingHook', monitor='refcoco/val/oIoU')]
    with pytest.raises(UserError, match="custom_hooks.1.monitor='refcoco/val/oIoU' with rule=None"):
        check_best_rules(Config(dict(custom_hooks=hooks)))
    hooks[1]['rule'] = 'greater'
    check_best_rules(Config(dict(custom_hooks=hooks)))

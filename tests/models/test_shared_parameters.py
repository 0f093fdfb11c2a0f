"""The parameters at which GradNorm compares the tasks, and a training by it."""

import json
import math

import pytest
import torch
from helpers.paths import ROOT
from helpers.tiny_model import batch_of, encoder_config, head_config, item, rectangle, tiny_model
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmuniqrnet.datasets.refshapes import make_refshapes
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

TRAINING_ITEM = item(boxes=[[8.0, 4.0, 24.0, 20.0]], masks=[rectangle(48, 64, 8, 4, 24, 20)])


def losses_of(model: nn.Module) -> dict:
    data = model.data_preprocessor(batch_of([TRAINING_ITEM]), training=True)
    return model(**data, mode='loss')


@pytest.mark.parametrize('task', ['loss_box', 'loss_mask', 'loss_score'])
def test_every_task_reaches_them(task):
    model = tiny_model().train()
    total = sum(value for name, value in losses_of(model).items() if name.startswith(task))
    gradients = torch.autograd.grad(total, model.shared_parameters())
    # The bias of keys shifts all attention logits alike: no loss depends on it.
    assert all(g.isfinite().all() and g.abs().sum() > 0 for g in gradients)


def test_they_are_the_last_of_the_encoder_and_none_of_a_branch():
    model = tiny_model(head=head_config(encoder=encoder_config(num_layers=3)))
    names = {id(value): name for name, value in model.named_parameters()}
    found = {names[id(value)] for value in model.shared_parameters()}
    assert found == {name for name in names.values() if name.startswith('head.encoder.layers.2.')}


def test_an_encoder_that_does_not_say_is_named():
    head = MODELS.build(head_config(encoder=nn.Identity()))
    with pytest.raises(ValueError, match='Identity has no shared_parameters.*LossBalanceHook'):
        head.shared_parameters()


@pytest.mark.parametrize('shared', [None, 'neck'])
def test_gradnorm_needs_parameters_on_which_pixel_guidance_depends(shared, tmp_path):
    make_refshapes(str(tmp_path / 'refshapes'), num_images=dict(train=4, val=1, testA=1, testB=1), workers=1)
    cfg = Config.fromfile(ROOT / 'configs' / 'uniqrnet_swin-nano_refshapes.py')
    cfg.merge_from_dict({'custom_hooks.0.strategy': 'gradnorm', 'custom_hooks.0.shared_parameters': shared})
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].dataset.data_root = str(tmp_path / 'refshapes')
    cfg.train_dataloader.batch_size = 2
    cfg.train_cfg.update(max_iters=12, val_interval=99)
    cfg.default_hooks.logger.interval = 1
    cfg.update(work_dir=str(tmp_path / 'run'), experiment_name=tmp_path.name, visualizer=None)
    cfg.default_hooks.pop('visualization')
    if shared is None:
        with pytest.raises(
            UserError, match='losses of task \'aux\' do not depend on .* such as shared_parameters="neck"'
        ):
            Runner.from_cfg(cfg).train()
        return
    Runner.from_cfg(cfg).train()
    log = next((tmp_path / 'run').rglob('vis_data/*.json'))
    lines = [json.loads(line) for line in log.read_text().splitlines() if 'balance/weight_box' in line]
    weights = [tuple(line[f'balance/weight_{task}'] for task in ('box', 'mask', 'aux')) for line in lines]
    assert weights[0] == (1, 1, 1) and weights[-1] != (1, 1, 1)
    assert all(math.isclose(sum(three), 3, abs_tol=1e-3) and min(three) > 0 for three in weights)

"""The recipe that the configs describe: every parameter's learning rate and weight decay, and what colours become."""

import numpy as np
import pytest
from helpers.config_samples import narrow
from helpers.paths import ROOT
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.optim import AdamW

from mmuniqrnet.models.layers import QueryDynamicAttention
from mmuniqrnet.registry import MODELS, TRANSFORMS

pytestmark = pytest.mark.usefixtures('mmuniqrnet_scope')


def names_of(model: nn.Module, *parts: nn.Module) -> set[str]:
    """Names of the parameters of some parts, by the parameters themselves and not by how they are called."""
    wanted = {id(value) for part in parts for value in part.parameters()}
    return {name for name, value in model.named_parameters() if id(value) in wanted}


@pytest.mark.parametrize('name', ['qrnet_swin-s_refcoco', 'uniqrnet_swin-b_refcoco', 'uniqrnet_swin-t_referit'])
def test_every_parameters_learning_rate_and_decay(name):
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    narrow(cfg.model)
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer) is AdamW
    group_of = {id(value): group for group in optimizer.param_groups for value in group['params']}
    trained = {key: value for key, value in model.named_parameters() if value.requires_grad}
    assert set(group_of) == {id(value) for value in trained.values()}
    assert len(group_of) == sum(len(group['params']) for group in optimizer.param_groups)

    gates = [
        part
        for whole in (model.backbone, model.neck)
        for part in whole.modules()
        if isinstance(part, QueryDynamicAttention)
    ]
    assert len(gates) == 4 + 3
    slow = names_of(model, model.backbone, model.neck.lateral_convs, model.text_encoder) - names_of(model, *gates)
    assert slow and set(trained) - slow == names_of(model, *gates, model.head)
    expected = {key: (1e-5 if key in slow else 1e-4, 1e-4) for key in trained}
    found = {key: (group_of[id(value)]['lr'], group_of[id(value)]['weight_decay']) for key, value in trained.items()}
    assert {key: value for key, value in found.items() if value != pytest.approx(expected[key], rel=1e-9)} == {}


def test_jitter_changes_colours_by_at_most_the_recipes_strength_and_keeps_what_they_are_called():
    """A red that an expression may name stays red; a grey stays grey, and moves by two jitters' factors at most."""
    cfg = Config.fromfile(ROOT / 'configs' / 'uniqrnet_swin-b_refcoco.py')
    jitter = TRANSFORMS.build(next(t for t in cfg.train_pipeline if t.type == 'RandomApply'))
    np.random.seed(0)
    image = np.zeros((2, 2, 3), np.uint8)
    image[0], image[1] = (30, 60, 190), (100, 100, 100)  # BGR
    seen = [jitter(dict(img=image.copy()))['img'].astype(int) for _ in range(100)]
    for out in seen:
        blue, green, red = out[0, 0]
        assert red > green > blue
        assert np.ptp(out[1]) <= 1 and 100 * 0.6**2 - 5 <= out[1].mean() <= 100 * 1.4**2 + 5
    same = sum((out == image).all() for out in seen)
    assert 8 <= same <= 35  # 20 expected, and a few by chance
    assert len({out.tobytes() for out in seen}) > 50


def test_crops_and_flips_heed_the_published_words_in_qrnet_and_all_in_ours():
    heeded = {}
    for path in sorted((ROOT / 'configs').glob('*.py')):
        train = Config.fromfile(path).get('train_dataloader')
        for dataset in [] if train is None else train.dataset.get('datasets', [train.dataset]):
            steps = {
                step.type: TRANSFORMS.build(step)
                for step in dataset.pipeline
                if 'Crop' in step.type or 'Flip' in step.type
            }
            heeded.setdefault(path.stem, []).append({name: step.words for name, step in steps.items()})
    published = dict(GuardedCrop=('left', 'right', 'top', 'bottom', 'middle'), RandomFlipWithText='whole')
    assert heeded.pop('qrnet_swin-s_refcoco') == [published]
    assert len(heeded) > 20
    for name, steps in heeded.items():
        for step in steps:
            # Small pictures are not cropped.
            small = name.endswith(('refshapes', 'refshapes-none', 'photos', 'photos-names', 'photos-320', 'finetune'))
            assert step == dict.fromkeys(['RandomFlipWithText'] if small else published, 'all')

"""Every config builds, and at reduced size trains a step on a miniature of its data."""
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from mmdet.models import SwinTransformer
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope, init_default_scope

from mmuniqrnet.datasets.refshapes import make_refshapes
from mmuniqrnet.registry import DATASETS, HOOKS, METRICS, MODELS, VISUALIZERS

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / 'configs').glob('*.py'))
# BERT's configuration at the width that the full-size configs expect, without its weights.
TINY_BERT = dict(model_type='bert', hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmuniqrnet')
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """RefShapes in its own folder, and again in the file tree that the RefCOCO configs read."""
    root = tmp_path_factory.mktemp('data')
    make_refshapes(str(root / 'refshapes'), num_images=dict(train=4, val=2, testA=2, testB=2), workers=1)
    refs = json.loads((root / 'refshapes' / 'refs.json').read_text())
    shutil.copytree(root / 'refshapes' / 'images', root / 'coco' / 'train2014')
    (root / 'refcoco').mkdir()
    shutil.copy(root / 'refshapes' / 'instances.json', root / 'refcoco')
    (root / 'refcoco' / 'refs(unc).p').write_bytes(pickle.dumps(refs, protocol=2))
    return root


def reduce(cfg: Config, data: Path) -> Config:
    """The same network, narrow, on a canvas of 64 pixels; full-size configs name their data under data/."""
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        dataset.data_root = str(data / Path(dataset.data_root).relative_to('data'))
        for transform in dataset.pipeline:
            if 'scale' in transform:
                transform.scale = (64, 64)
            if 'scales' in transform:
                transform.scales = [(48, 48), (64, 64)]
            if 'short_sides' in transform:
                transform.update(short_sides=(48, 64), crop_size=(40, 60))
    model = cfg.model
    model.data_preprocessor.canvas_size = 64
    if isinstance(model.text_encoder.model, str):
        model.text_encoder.update(model=TINY_BERT, tokenizer='mmuniqrnet:refshapes')
        channels = (16, 32, 64, 128)
        model.backbone.update(text_dim=32, embed_dims=16, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8), init_cfg=None)
        model.neck.update(text_dim=32, in_channels=channels, out_channels=32)
        model.head.encoder.update(
            in_channels=32, text_dim=32, embed_dims=32, num_layers=1, num_heads=2, feedforward_dims=32,
            level_sizes=((2, 2), (1, 1)))
        for branch in ('box_branch', 'mask_branch', 'score_branch'):
            if model.head.get(branch):
                model.head[branch].embed_dims = 32
        if model.head.get('mask_branch'):
            model.head.mask_branch.update(in_channels=32, feat_channels=32, norm_cfg=dict(type='GN', num_groups=4))
        if model.head.get('pixel_guidance'):
            model.head.pixel_guidance.update(text_dim=32, backbone_channels=channels, neck_channels=32)
    return cfg


def test_there_are_configs():
    assert 'configs/uniqrnet_swin-nano_refshapes.py' in CONFIGS
    assert 'configs/uniqrnet_swin-b_refcoco.py' in CONFIGS


@pytest.mark.parametrize('path', CONFIGS)
def test_config_trains_a_step_and_answers(path, data):
    cfg = reduce(Config.fromfile(ROOT / path), data)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    train, val, test = (DATASETS.build(cfg[f'{part}_dataloader'].dataset) for part in ('train', 'val', 'test'))
    assert len(test) > len(val) > 0
    before = {name: value.clone() for name, value in model.named_parameters()}
    model.train()
    log = model.train_step(pseudo_collate([train[i] for i in range(4)]), optim_wrapper)
    assert torch.isfinite(log['loss'])
    # The gates' last V is zero at first, so what stands before it has no gradient in the first step.
    late = ('squeeze.V', 'decoder.weight', 'decoder.bias')
    unchanged = [name for name, value in model.named_parameters()
                 if value.requires_grad and torch.equal(value, before[name]) and not name.endswith(late)]
    assert not unchanged
    model.eval()
    answers = model.val_step(pseudo_collate([test[0], test[1]]))
    for answer in answers:
        height, width = answer.ori_shape
        if 'bboxes' in answer.pred_instances:
            x1, y1, x2, y2 = answer.pred_instances.bboxes[0].tolist()
            assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height
        if 'masks' in answer.pred_instances:
            assert answer.pred_instances.masks.shape == (1, height, width)
    metric = METRICS.build(cfg.test_evaluator)
    metric.process({}, [answer.to_dict() for answer in answers])
    assert metric.evaluate(2)[f'{answers[0].dataset}/{answers[0].split}/N'] == 2


@pytest.mark.parametrize('path', CONFIGS)
def test_hooks_of_config_are_there(path):
    cfg = Config.fromfile(ROOT / path)
    cfg.visualizer.vis_backends = None
    VISUALIZERS.build(cfg.visualizer)  # a drawing hook asks for the current one
    for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])]:
        HOOKS.build(hook)


def test_flagship_is_full_size():
    """Swin-B, gated, and everything else of QRNet's size; the text model is left out, it is not ours."""
    cfg = Config.fromfile(ROOT / 'configs/uniqrnet_swin-b_refcoco.py')
    cfg.model.backbone.init_cfg = None
    backbone, neck, head = (MODELS.build(cfg.model[part]) for part in ('backbone', 'neck', 'head'))
    swin = SwinTransformer(embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32))
    ours = {name: value.shape for name, value in backbone.state_dict().items() if not name.startswith('gates.')}
    assert ours == {name: value.shape for name, value in swin.state_dict().items()}
    assert all(gate is not None for gate in backbone.gates)
    assert neck.num_outs == 5 and head.encoder.level_sizes == ((20, 20), (10, 10))
    assert head.box_branch is not None and head.mask_branch is not None and head.pixel_guidance is not None

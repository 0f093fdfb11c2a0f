"""mmdet's Mask R-CNN on this package's backbone, with the annotations that leave the test images out."""

import json
from pathlib import Path

import pytest
import torch
from helpers.config_samples import make_data
from helpers.needs import needs_ops
from helpers.paths import ROOT
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope, init_default_scope

from mmuniqrnet.analysis.coco_subset import write_without_images
from mmuniqrnet.models import QRNetSwin

CONFIGS = sorted((ROOT / 'configs' / 'pretrain').glob('*.py'))
FULL = {
    't': (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    's': (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    'b': (128, (2, 2, 18, 2), (4, 8, 16, 32)),
}
SMALL = dict(embed_dims=16, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8))


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """RefShapes as COCO: its shapes are called by names of COCO's categories."""
    root = make_data(tmp_path_factory.mktemp('pretrain'))
    content = json.loads((root / 'refcoco' / 'instances.json').read_text())
    names = ['person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck']
    content['categories'] = [dict(category, name=name) for category, name in zip(content['categories'], names)]
    folder = root / 'coco' / 'annotations'
    folder.mkdir()
    source, target = folder / 'instances_train2014.json', folder / 'instances_train2014_without_refer.json'
    source.write_text(json.dumps(content))
    write_without_images(str(source), str(target), str(root / 'exclude.json'))
    return root


def test_one_config_for_each_size():
    assert [path.stem for path in CONFIGS] == [f'mask-rcnn_qrnet-swin-{size}_coco' for size in 'bst']


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_it_is_mmdets_mask_rcnn_around_a_plain_swin(path):
    cfg = Config.fromfile(path)
    backbone = cfg.model.backbone
    size = FULL[path.stem.removesuffix('_coco')[-1]]
    assert (backbone.embed_dims, tuple(backbone.depths), tuple(backbone.num_heads)) == size
    assert cfg.model.neck.in_channels == [size[0] * 2**i for i in range(4)]
    assert cfg.model.type == 'MaskRCNN' and cfg.train_dataloader.dataset.data_prefix.img == 'train2014/'
    backbone.update(SMALL, init_cfg=None)
    cfg.model.neck.in_channels = [16, 32, 64, 128]
    model = MODELS.build(cfg.model)
    assert isinstance(model.backbone, QRNetSwin)
    assert not [name for name, _ in model.named_parameters() if 'gates' in name]


@needs_ops
def test_it_trains_without_the_held_out_images_and_its_backbone_goes_on(data, tmp_path):
    cfg = Config.fromfile(CONFIGS[-1])
    cfg.model.backbone.update(SMALL, init_cfg=None)
    cfg.model.neck.in_channels = [16, 32, 64, 128]
    loader = cfg.train_dataloader.dataset
    loader.data_root = str(data / 'coco')
    loader.filter_cfg.min_size = 8
    pipeline = loader.pipeline
    loader.pipeline = [*pipeline[:2], dict(type='Resize', scale=(96, 96), keep_ratio=True), pipeline[-1]]
    dataset = DATASETS.build(loader)
    ids = {dataset.get_data_info(i)['img_id'] for i in range(len(dataset))}
    excluded = set(json.loads((data / 'exclude.json').read_text()))
    assert len(ids) == 3 and not ids & excluded

    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    before = {name: value.clone() for name, value in model.backbone.named_parameters()}
    model.train()
    log = model.train_step(
        pseudo_collate([dataset[i] for i in range(2)]), build_optim_wrapper(model, cfg.optim_wrapper)
    )
    assert torch.isfinite(log['loss'])
    assert not [name for name, value in model.backbone.named_parameters() if torch.equal(value, before[name])]

    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'epoch_36.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'epoch_36.pth'))
    gated = QRNetSwin(text_dim=8, init_cfg=init_cfg, **SMALL)
    gated.init_weights()
    image = torch.randn(1, 3, 64, 64)
    model.backbone.eval(), gated.eval()
    for ours, theirs in zip(gated(image), model.backbone(image)):
        assert torch.equal(ours, theirs)

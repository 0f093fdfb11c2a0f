"""Miniatures of every data set that the configs read, and the configs at reduced size, for tests."""

import importlib.util
import json
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from pycocotools import mask as mask_utils
from scipy.io import savemat
from torch import nn
from torch.overrides import TorchFunctionMode

from mmuniqrnet.datasets.refshapes import make_refshapes
from mmuniqrnet.registry import MODELS

from .corrected_samples import make_corrected

HAS_PYARROW = importlib.util.find_spec('pyarrow') is not None

# BERT's configuration at the width that the reduced configs expect, without its weights.
TINY_BERT = dict(model_type='bert', hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
SPLITS = dict(
    refcoco={'unc': dict(train='train', val='val', testA='testA', testB='testB')},
    refcocog={
        'umd': dict(train='train', val='val', testA='test', testB='test'),
        'google': dict(train='train', val='val'),
    },
)
SPLITS['refcoco+'] = SPLITS['refcoco']


def make_data(root: Path) -> Path:
    """RefShapes in its own folders, and again in the file trees of RefCOCO/+/g and ReferItGame, under ``root``."""
    shapes = root / 'refshapes'
    sizes = dict(train=4, val=2, testA=2, testB=2)
    make_refshapes(str(shapes), num_images=sizes, workers=1)
    make_refshapes(str(root / 'refshapes-none'), num_images=sizes, no_target=0.2, workers=1)
    refs = json.loads((shapes / 'refs.json').read_text())
    shutil.copytree(shapes / 'images', root / 'coco' / 'train2014')
    for name, files in SPLITS.items():
        (root / name).mkdir()
        shutil.copy(shapes / 'instances.json', root / name)
        for author, names in files.items():
            renamed = [dict(ref, split=names[ref['split']]) for ref in refs if ref['split'] in names]
            (root / name / f'refs({author}).p').write_bytes(pickle.dumps(renamed, protocol=2))
    # What tools/dataset_tools/leakage.py lists; one training image is among them, or nothing would be seen to go.
    leaked = {ref['image_id'] for ref in refs if ref['split'] != 'train'} | {refs[0]['image_id']}
    (root / 'exclude.json').write_text(json.dumps(sorted(leaked)))
    make_referit(root, refs)
    make_photos(root, refs)
    if HAS_PYARROW:
        content = json.loads((shapes / 'instances.json').read_text())
        make_corrected(root, refs, content, root / 'coco' / 'train2014')
    return root


def make_referit(root: Path, refs: list[dict]) -> None:
    """The same objects as ReferItGame's files: boxes that include their last pixel, masks as SAIAPR's .mat."""
    content = json.loads((root / 'refshapes' / 'instances.json').read_text())
    images = {image['id']: image for image in content['images']}
    annotations = {annotation['id']: annotation for annotation in content['annotations']}
    folder = root / 'referit'
    (folder / 'images').mkdir(parents=True)
    (folder / 'masks').mkdir()
    queries, boxes = dict(train={}, val={}, test={}), {}
    for ref in refs:
        annotation = annotations[ref['ann_id']]
        key = f'{ref["image_id"]}_{ref["ann_id"]}'
        x, y, w, h = map(int, annotation['bbox'])
        boxes[key] = [x, y, x + w - 1, y + h - 1]
        split = ref['split'] if ref['split'] in queries else 'test'
        queries[split][key] = [sentence['raw'] for sentence in ref['sentences']]
        mask = mask_utils.decode(annotation['segmentation'])
        savemat(folder / 'masks' / f'{key}.mat', dict(segimg_t=np.where(mask, 0, 255).astype(np.uint8)))
    for image in images.values():
        pixels = cv2.imread(str(root / 'refshapes' / 'images' / image['file_name']))
        cv2.imwrite(str(folder / 'images' / f'{image["id"]}.jpg'), pixels)
    sizes = {f'{image["id"]}.jpg': [image['width'], image['height']] for image in images.values()}
    for split, found in queries.items():
        (folder / f'referit_query_{split}.json').write_text(json.dumps(found))
    (folder / 'referit_bbox.json').write_text(json.dumps(boxes))
    (folder / 'referit_imsize.json').write_text(json.dumps(sizes))


def make_photos(root: Path, refs: list[dict]) -> None:
    """The same objects as the files that tools/photos.py writes; every mosaic is one picture."""
    content = json.loads((root / 'refshapes' / 'instances.json').read_text())
    images = {image['id']: image for image in content['images']}
    annotations = {annotation['id']: annotation for annotation in content['annotations']}
    folder = root / 'photos'
    for images_of in (folder / 'images', folder / 'mosaics' / 'images'):
        shutil.copytree(root / 'refshapes' / 'images', images_of)
    lines: dict[str, list[str]] = dict(train=[], val=[])
    for ref in refs:
        annotation = annotations[ref['ann_id']]
        x, y, w, h = annotation['bbox']
        line = dict(
            image=images[ref['image_id']]['file_name'],
            expressions=[sentence['raw'] for sentence in ref['sentences']],
            bbox=[x, y, x + w, y + h],
            mask=annotation['segmentation'],
        )
        lines.get(ref['split'], []).append(json.dumps(line))
    for name in ('train', 'names', 'mosaics', 'val', 'val_several'):
        (folder / f'{name}.jsonl').write_text('\n'.join(lines['val' if name.startswith('val') else 'train']))


def single_datasets(dataset: ConfigDict) -> list[ConfigDict]:
    """The data sets of a loader, whether or not they are concatenated."""
    return dataset.datasets if dataset.type == 'ConcatDataset' else [dataset]


def reduce(cfg: Config, data: Path) -> Config:
    """The same network, narrow, on a canvas of 64 pixels; what configs look for under data/ is in ``data``."""
    for part in ('train', 'val', 'test'):
        if f'{part}_dataloader' not in cfg:
            continue
        cfg[f'{part}_dataloader'].update(num_workers=0, persistent_workers=False)
        for dataset in single_datasets(cfg[f'{part}_dataloader'].dataset):
            dataset.data_root = str(data / Path(dataset.data_root).relative_to('data'))
            for transform in [
                *dataset.pipeline,
                *(inner for one in dataset.pipeline for inner in one.get('transforms', [])),
            ]:
                if 'scale' in transform:
                    transform.scale = (64, 64)
                if 'scales' in transform:
                    transform.scales = [(48, 48), (64, 64)]
                if 'short_sides' in transform:
                    transform.update(short_sides=(48, 64), crop_size=(40, 60))
    cfg.model.data_preprocessor.canvas_size = 64
    if isinstance(cfg.model.text_encoder.model, str):
        narrow(cfg.model)
    return cfg


def narrow(model: ConfigDict) -> None:
    """A full-size model's config, made small."""
    model.text_encoder.update(model=TINY_BERT, tokenizer='mmuniqrnet:refshapes')
    channels = (16, 32, 64, 128)
    model.backbone.update(text_dim=32)
    if model.backbone.get('body', {}).get('type') == 'EfficientNetLite':
        model.backbone.body.update(init_cfg=None)  # its widths are fixed
        channels = tuple(model.neck.in_channels)
    elif 'body' in model.backbone:
        # A block whose last norm starts at zero would not be trained in the first step.
        model.backbone.body.update(depth=18, base_channels=16, zero_init_residual=False, init_cfg=None)
    else:
        model.backbone.update(embed_dims=16, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8), init_cfg=None)
    model.neck.update(text_dim=32, in_channels=channels, out_channels=32)
    model.head.encoder.update(
        in_channels=32,
        text_dim=32,
        embed_dims=32,
        num_layers=2,
        num_heads=2,
        feedforward_dims=32,
        level_sizes=((2, 2), (1, 1)),
    )
    for branch in ('box_branch', 'mask_branch', 'score_branch'):
        if model.head.get(branch):
            model.head[branch].embed_dims = 32
    if model.head.get('mask_branch'):
        model.head.mask_branch.update(in_channels=32, norm_cfg=dict(type='GN', num_groups=4))
        if 'decode_head' in model.head.mask_branch:
            model.head.mask_branch.decode_head.update(
                in_channels=[32] * 4, channels=16, norm_cfg=dict(type='GN', num_groups=4)
            )
        else:
            model.head.mask_branch.feat_channels = 32
    if model.head.get('box_refiner'):
        model.head.box_refiner.update(embed_dims=32, in_channels=32, feat_channels=8)
    if model.head.get('pixel_guidance'):
        model.head.pixel_guidance.update(text_dim=32, backbone_channels=channels, neck_channels=32)


def build_without_memory(model: ConfigDict) -> nn.Module:
    """A model's config at full size, with BERT's shapes, on the meta device: shapes without numbers, in a moment."""
    model = model.copy()
    if isinstance(model.text_encoder.model, str):
        model.text_encoder = dict(model.text_encoder, model=dict(model_type='bert'), tokenizer='mmuniqrnet:refshapes')
    with torch.device('meta'), _LinspaceWithNumbers():
        return MODELS.build(model)


class _LinspaceWithNumbers(TorchFunctionMode):
    """On the CPU whatever the device: Swin reads its drop path rates from it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.linspace:
            kwargs['device'] = 'cpu'
        return function(*args, **kwargs)

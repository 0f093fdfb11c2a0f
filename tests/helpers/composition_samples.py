"""mmdet's detectors and mmseg's segmentors from their own configs, made small, with our backbone and neck."""

import json
from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from .tiny_model import CHANNELS, TEXT_DIM, backbone_config, neck_config, text_encoder_config

SIDE = 64
SENTENCES = ('the red circle', 'the blue square')


def model_of(base: str) -> ConfigDict:
    """The model of a config of another package. mmengine's ``get_config`` may call pip, so it is not used."""
    return Config.fromstring(f'_base_ = {base!r}', '.py').model


def backbone(**changes) -> dict:
    return backbone_config(type='mmuniqrnet.QRNetSwin', **changes)


def neck(**changes) -> dict:
    return neck_config(type='mmuniqrnet.QueryAwareFusion', **changes)


def language_model(max_length: int = 16, **changes) -> dict:
    encoder = text_encoder_config(type='mmuniqrnet.TextEncoder', max_length=max_length)
    encoder['model'] = encoder['model'] | dict(max_position_embeddings=max_length)
    return dict(type='mmuniqrnet.LanguageModel', text_encoder=encoder) | changes


def mask_rcnn() -> ConfigDict:
    cfg = model_of('mmdet::_base_/models/mask-rcnn_r50_fpn.py')
    cfg.backbone = backbone(gated_stages=())
    cfg.neck.update(in_channels=list(CHANNELS), out_channels=16)
    cfg.rpn_head.update(in_channels=16, feat_channels=16)
    cfg.roi_head.bbox_roi_extractor.out_channels = cfg.roi_head.mask_roi_extractor.out_channels = 16
    cfg.roi_head.bbox_head.update(in_channels=16, fc_out_channels=16, num_classes=3)
    cfg.roi_head.mask_head.update(in_channels=16, conv_out_channels=16, num_convs=1, num_classes=3)
    cfg.train_cfg.rpn_proposal.max_per_img = 50
    return cfg


def mask2former() -> ConfigDict:
    cfg = model_of('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py')
    cfg.data_preprocessor.batch_augments = None
    cfg.backbone = backbone(gated_stages=())
    head = cfg.panoptic_head
    head.update(in_channels=list(CHANNELS), feat_channels=16, out_channels=16, num_queries=4, num_things_classes=3)
    head.loss_cls.class_weight = [1.0] * 3 + [0.1]
    head.positional_encoding.num_feats = head.pixel_decoder.positional_encoding.num_feats = 8
    head.pixel_decoder.norm_cfg.num_groups = 4
    layer = head.pixel_decoder.encoder
    layer.num_layers = 1
    layer.layer_cfg.self_attn_cfg.embed_dims = layer.layer_cfg.ffn_cfg.embed_dims = 16
    head.transformer_decoder.num_layers = 2
    for part in ('self_attn_cfg', 'cross_attn_cfg', 'ffn_cfg'):
        head.transformer_decoder.layer_cfg[part].embed_dims = 16
    cfg.panoptic_fusion_head.num_things_classes = 3
    cfg.train_cfg.num_points = 64
    cfg.test_cfg.max_per_image = 4
    return cfg


def grounding_dino() -> ConfigDict:
    """Width 256, which mmdet's encoder takes for granted."""
    cfg = model_of('mmdet::grounding_dino/grounding_dino_swin-t_finetune_16xb2_1x_coco.py')
    cfg.type = 'mmuniqrnet.GatedGroundingDINO'
    cfg.language_model = language_model()
    cfg.backbone = backbone(out_indices=(1, 2, 3))
    cfg.neck.update(in_channels=list(CHANNELS[1:]))
    cfg.num_queries = 10
    cfg.encoder.update(num_layers=1, num_cp=0)
    cfg.encoder.layer_cfg.ffn_cfg.feedforward_channels = 16
    cfg.encoder.text_layer_cfg.ffn_cfg.feedforward_channels = 16
    cfg.encoder.fusion_layer_cfg.embed_dim = 16
    cfg.decoder.num_layers = 1
    cfg.decoder.layer_cfg.ffn_cfg.feedforward_channels = 16
    cfg.bbox_head.num_classes = 1
    cfg.bbox_head.contrastive_cfg.max_text_len = 16
    cfg.dn_cfg.group_cfg.num_dn_queries = 4
    cfg.test_cfg.max_per_img = 5
    return cfg


def glip(folder: Path) -> ConfigDict:
    """256 tokens, which mmdet's detector takes for granted."""
    (folder / 'config.json').write_text(json.dumps(dict(model_type='bert', hidden_size=TEXT_DIM)))
    cfg = model_of('mmdet::glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco.py')
    cfg.type = 'mmuniqrnet.GatedGLIP'
    cfg.language_model = language_model(max_length=256, sub_sentences=False, pad_to_max=True)
    cfg.backbone = backbone(out_indices=(1, 2, 3))
    cfg.neck.update(in_channels=list(CHANNELS[1:]), plugin=None)
    cfg.bbox_head.update(lang_model_name=str(folder), num_dyhead_blocks=1, num_classes=1)
    cfg.test_cfg.score_thr = 0.0
    return cfg


def segmentor(**decode_head) -> ConfigDict:
    """mmseg's UPerNet, or another decode head; no auxiliary head."""
    cfg = model_of('mmseg::_base_/models/upernet_swin.py')
    cfg.backbone = backbone(gated_stages=())
    cfg.pop('auxiliary_head')
    cfg.data_preprocessor.size = (SIDE, SIDE)
    norm = dict(type='GN', num_groups=4)
    cfg.decode_head.update(in_channels=list(CHANNELS), channels=8, num_classes=3, pool_scales=(1, 2), norm_cfg=norm)
    if decode_head:
        cfg.decode_head = dict(channels=8, num_classes=3, norm_cfg=norm, **decode_head)
    return cfg


def detector_batch(texts: tuple = SENTENCES, **meta) -> dict:
    """One image per text, all the same image, with one object of class 0 and its mask."""
    image = torch.randint(0, 256, (3, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    samples = []
    for text in texts:
        shape = (SIDE, SIDE)
        meta_of = dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0), img_id=0, text=text, **meta)
        sample = DetDataSample(metainfo=meta_of)
        mask = np.zeros((1, SIDE, SIDE), dtype=np.uint8)
        mask[0, 8:48, 8:40] = 1
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8.0, 40.0, 48.0]]), labels=torch.tensor([0]), masks=BitmapMasks(mask, SIDE, SIDE)
        )
        samples.append(sample)
    return dict(inputs=[image.clone() for _ in texts], data_samples=samples)


def segmentor_batch() -> dict:
    """Two images with three classes."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=(SIDE, SIDE), ori_shape=(SIDE, SIDE)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 3, (1, SIDE, SIDE), generator=generator))
        samples.append(sample)
    images = [torch.randint(0, 256, (3, SIDE, SIDE), generator=generator, dtype=torch.uint8) for _ in range(2)]
    return dict(inputs=images, data_samples=samples)


def parameters_without_gradient(model: torch.nn.Module, batch: dict) -> list[str]:
    """One forward and backward pass in training; the parameters for which DDP would wait."""
    data = model.train().data_preprocessor(batch, True)
    total, _ = model.parse_losses(model(**data, mode='loss'))
    assert torch.isfinite(total)
    total.backward()
    return [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]

"""A whole UniQRNet that runs in milliseconds, and samples for it."""

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData

from mmuniqrnet.models.layers import DynamicLinear
from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures import TextFeatures

TEXT_DIM = 16
DIM = 16
NUM_TOKENS = 8
CHANNELS = (8, 16, 32, 64)
CANVAS = 64


def text_encoder_config(**changes) -> dict:
    config = dict(
        model_type='bert',
        hidden_size=TEXT_DIM,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return dict(type='TextEncoder', model=config, tokenizer='mmuniqrnet:refshapes', max_length=NUM_TOKENS) | changes


def backbone_config(**changes) -> dict:
    return (
        dict(
            type='QRNetSwin',
            text_dim=TEXT_DIM,
            gate_rank=4,
            gate_reduction=4,
            embed_dims=CHANNELS[0],
            depths=(1, 1, 1, 1),
            num_heads=(2, 2, 4, 4),
            window_size=4,
            drop_path_rate=0.0,
        )
        | changes
    )


def neck_config(**changes) -> dict:
    return (
        dict(
            type='QueryAwareFusion',
            in_channels=CHANNELS,
            out_channels=DIM,
            text_dim=TEXT_DIM,
            num_outs=5,
            gate_reduction=4,
            gate_rank=4,
        )
        | changes
    )


def encoder_config(**changes) -> dict:
    return (
        dict(
            type='VisualLinguisticEncoder',
            in_channels=DIM,
            text_dim=TEXT_DIM,
            embed_dims=DIM,
            num_layers=2,
            num_heads=4,
            feedforward_dims=32,
            dropout=0.0,
            num_text_tokens=NUM_TOKENS,
            levels=(2, 3),
            position='sine',
        )
        | changes
    )


def head_config(**changes) -> dict:
    return (
        dict(
            type='UniQRNetHead',
            encoder=encoder_config(),
            box_branch=dict(type='BoxBranch', embed_dims=DIM),
            mask_branch=dict(
                type='MaskBranch',
                embed_dims=DIM,
                in_channels=DIM,
                feat_channels=DIM,
                levels=(1, 0),
                norm_cfg=dict(type='GN', num_groups=4),
            ),
            score_branch=dict(type='ScoreBranch', embed_dims=DIM),
            pixel_guidance=dict(
                type='PixelGuidance',
                backbone_channels=CHANNELS,
                neck_channels=DIM,
                text_dim=TEXT_DIM,
                neck_levels=(0, 1),
                embed_dims=8,
            ),
        )
        | changes
    )


def tiny_model(seed: int = 0, **changes) -> torch.nn.Module:
    """The tiny network in evaluation mode, its gates opened; ``changes`` are parts of the config."""
    torch.manual_seed(seed)
    config = dict(
        type='UniQRNet',
        data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=CANVAS),
        text_encoder=text_encoder_config(),
        backbone=backbone_config(),
        neck=neck_config(),
        head=head_config(),
    )
    return open_gates(MODELS.build(config | changes)).eval()


def open_gates(module: torch.nn.Module) -> torch.nn.Module:
    """Give every dynamic layer a V that is not zero, as after training, so that the text matters."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, DynamicLinear):
            layer.V.data = 0.3 * torch.randn(layer.V.shape, generator=generator)
    return module


def text_features(batch: int = 2, seed: int = 0, **kwargs) -> TextFeatures:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(batch, NUM_TOKENS, TEXT_DIM, generator=generator)
    padding = torch.zeros(batch, NUM_TOKENS, dtype=torch.bool)
    padding[0, 5:] = True
    return TextFeatures(tokens, tokens[:, 0], padding)


def neck_maps(batch: int = 2, canvas: int = CANVAS, width: int | None = None, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = [(canvas // s, (width or canvas) // s) for s in (4, 8, 16, 32, 64)]
    return [torch.randn(batch, DIM, *size, generator=generator) for size in sizes]


def item(
    height: int = 48,
    width: int = 64,
    text: str = 'the red circle',
    boxes=None,
    masks=None,
    seed: int = 0,
    ori_shape=None,
    **meta,
) -> dict:
    """One packed item, as the data loader gives it: a random image, ``boxes`` (xyxy) and ``masks`` (of its size)."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    truth = InstanceData()
    if boxes is not None:
        truth.bboxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    if masks is not None:
        masks = np.asarray(masks, dtype=np.uint8).reshape(-1, height, width)
        truth.masks = BitmapMasks(masks, height, width)
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(height, width),
            ori_shape=ori_shape or (height, width),
            text=text,
            img_id=seed,
            sent_id=seed,
            **meta,
        )
    )
    sample.gt_instances = truth
    return dict(inputs=image, data_samples=sample)


def rectangle(height: int, width: int, x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[y1:y2, x1:x2] = 1
    return mask


def batch_of(items: list[dict]) -> dict:
    return dict(inputs=[i['inputs'] for i in items], data_samples=[i['data_samples'] for i in items])

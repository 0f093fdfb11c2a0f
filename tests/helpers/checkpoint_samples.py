"""Small checkpoints in the layouts of others."""

import argparse
from collections.abc import Sequence

import torch
from transformers import BertConfig, BertModel

from mmuniqrnet.checkpoints import qrnet
from mmuniqrnet.checkpoints.swin import SWIN as SWIN_LAYOUTS
from mmuniqrnet.checkpoints.swin import to_original_order
from mmuniqrnet.models import BoxBranch, QRNetSwin, QueryAwareFusion, UniQRNet, UniQRNetHead, VisualLinguisticEncoder

TEXT_DIM = 12
SWIN = dict(embed_dims=16, depths=(1, 2, 2, 1), num_heads=(1, 2, 2, 4), window_size=4)


class Text(torch.nn.Module):
    """A text encoder's weights without its tokenizer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = BertModel(
            BertConfig(
                vocab_size=30,
                hidden_size=TEXT_DIM,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=8,
                max_position_embeddings=16,
            ),
            add_pooling_layer=False,
        )


def small_uniqrnet(box_only: bool = True, embed_dims: int = 16, num_text_tokens: int = 6, **swin) -> UniQRNet:
    """A model with random weights, V of the gates included."""
    mask = (
        None
        if box_only
        else dict(type='mmuniqrnet.MaskBranch', embed_dims=8, in_channels=32, feat_channels=8, norm_cfg=None)
    )
    sizes = SWIN | dict(embed_dims=embed_dims) | swin
    gates = {name: sizes[name] for name in ('channel_gate', 'spatial_gate') if name in sizes}
    model = UniQRNet(
        text_encoder=Text(),
        backbone=QRNetSwin(text_dim=TEXT_DIM, **sizes),
        neck=QueryAwareFusion([embed_dims * 2**i for i in range(4)], 32, TEXT_DIM, **gates),
        head=UniQRNetHead(
            encoder=VisualLinguisticEncoder(
                32,
                TEXT_DIM,
                8,
                num_layers=2,
                num_heads=2,
                feedforward_dims=8,
                num_text_tokens=num_text_tokens,
                level_sizes=((2, 2), (1, 1)),
            ),
            box_branch=BoxBranch(8),
            mask_branch=mask,
        ),
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


def unused_weights() -> dict[str, torch.Tensor]:
    """What a published file holds besides, that neither code uses."""
    return {
        'visumodel.rpn_head.rpn_conv.weight': torch.randn(4, 4, 3, 3),
        'textmodel.bert.pooler.dense.weight': torch.randn(TEXT_DIM, TEXT_DIM),
        'textmodel.bert.embeddings.position_ids': torch.arange(16)[None],
    }


def published_checkpoint(model: UniQRNet) -> dict:
    """What the published code would have saved for these weights."""
    state = qrnet.to_published(model.state_dict()).state | unused_weights()
    args = argparse.Namespace(lr=1e-4, device='cuda', backbone='swin_s')
    return dict(model=state, optimizer={}, lr_scheduler={}, epoch=3, args=args, val_accu=torch.tensor(0.5))


def resnet_state() -> dict[str, torch.Tensor]:
    """A few names of torchvision's ResNet."""
    return {'conv1.weight': torch.ones(8, 3, 7, 7), 'layer1.0.conv1.weight': torch.ones(8, 8, 1, 1)}


def detector_state(backbone: QRNetSwin, laterals: dict[str, torch.Tensor], original: bool = False) -> dict:
    """A Mask R-CNN's weights with this backbone, as mmdet saves them or as the Swin paper's detection code does.

    Args:
        backbone: The Swin; its gates are left out.
        laterals: The FPN's lateral convolutions, ``lateral_convs.{i}.conv.weight`` and ``.bias``.
        original: Whether the backbone is in the layout of the Swin paper's code.
    """
    swin = {name: value for name, value in backbone.state_dict().items() if not name.startswith('gates.')}
    if original:
        swin = {SWIN_LAYOUTS.backward(name): to_original_order(name, value) for name, value in swin.items()}
    width = len(laterals['lateral_convs.0.conv.bias'])
    fpn = laterals | {f'fpn_convs.{i}.conv.weight': torch.randn(width, width, 3, 3) for i in range(4)}
    return (
        {f'backbone.{name}': value for name, value in swin.items()}
        | {f'neck.{name}': value for name, value in fpn.items()}
        | {'rpn_head.rpn_conv.weight': torch.randn(4, 4, 3, 3), 'roi_head.bbox_head.fc_cls.bias': torch.randn(81)}
    )


def random_laterals(channels: Sequence[int], width: int, seed: int = 5) -> dict[str, torch.Tensor]:
    """Lateral convolutions as an FPN has them."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for i, c in enumerate(channels):
        out[f'lateral_convs.{i}.conv.weight'] = torch.randn(width, c, 1, 1, generator=generator)
        out[f'lateral_convs.{i}.conv.bias'] = torch.randn(width, generator=generator)
    return out

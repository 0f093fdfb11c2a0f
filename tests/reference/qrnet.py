"""The whole of QRNet behind its text encoder, whose output is an input here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .encoder import BoxMLP, Encoder
from .fusion import QueryAwareFusion, nearest
from .swin import QueryModulatedSwin


@dataclass(frozen=True)
class QRNetSizes:
    """Sizes of a network; the defaults are those of the paper (Swin-S, RefCOCO)."""

    embed_dims: int = 96
    depths: tuple[int, ...] = (2, 2, 18, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    text_dim: int = 768
    neck_channels: int = 256
    width: int = 256
    encoder_layers: int = 6
    encoder_heads: int = 8
    feedforward: int = 2048
    text_tokens: int = 20
    canvas: tuple[int, int] = (640, 640)
    rank: int = 30
    reduction: int = 16
    channel_gate: bool = True
    spatial_gate: bool = True

    @classmethod
    def of_golden(cls, config: Mapping) -> 'QRNetSizes':
        """From the ``config`` of a file of published numbers."""
        canvas = (config['size'],) * 2 if isinstance(config['size'], int) else tuple(config['size'])
        return cls(
            embed_dims=config['embed'],
            depths=tuple(config['depths']),
            num_heads=tuple(config['heads']),
            window=config['win'],
            text_dim=config['mu'],
            neck_channels=config['neck'],
            width=config['hid'],
            encoder_layers=config['layers'],
            encoder_heads=config['nh'],
            feedforward=config['ff'],
            text_tokens=config['L'],
            canvas=canvas,
            channel_gate=config.get('ch', True),
            spatial_gate=config.get('sp', True),
        )

    @property
    def stage_channels(self) -> list[int]:
        return [self.embed_dims * 2**i for i in range(len(self.depths))]

    @property
    def level_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of the two levels that become tokens: strides 32 and 64."""
        return [tuple(-(-side // stride) for side in self.canvas) for stride in (32, 64)]


class QRNetInputs(NamedTuple):
    """image [B, 3, H, W], its padding [B, H, W], text features [B, L, D] with [CLS] first, their padding [B, L].

    Paddings are True where there is no image and no text.
    """

    image: Tensor
    image_padding_mask: Tensor
    text_features: Tensor
    text_padding_mask: Tensor

    def to(self, dtype: torch.dtype) -> 'QRNetInputs':
        return QRNetInputs(*(x.to(dtype) if x.is_floating_point() else x for x in self))


class QRNetOutputs(NamedTuple):
    """Stage maps, neck levels, the sequence [1 + L + N, B, d] after the encoder, boxes [B, 4] (cx, cy, w, h)."""

    stages: list[Tensor]
    levels: list[Tensor]
    sequence: Tensor
    boxes: Tensor

    def named(self) -> dict[str, Tensor]:
        stages = {f'stage {i}': x for i, x in enumerate(self.stages)}
        levels = {f'level {i}': x for i, x in enumerate(self.levels)}
        return stages | levels | {'sequence': self.sequence, 'boxes': self.boxes}


class VisualModel(nn.Module):
    def __init__(self, sizes: QRNetSizes) -> None:
        super().__init__()
        gates = dict(
            text_dim=sizes.text_dim,
            rank=sizes.rank,
            reduction=sizes.reduction,
            channel_gate=sizes.channel_gate,
            spatial_gate=sizes.spatial_gate,
        )
        self.backbone = QueryModulatedSwin(sizes.embed_dims, sizes.depths, sizes.num_heads, sizes.window, **gates)
        self.neck = QueryAwareFusion(sizes.stage_channels, sizes.neck_channels, **gates)


class QRNet(nn.Module):
    """``load_state_dict`` takes the ``model`` of a published checkpoint, less ``textmodel`` and ``rpn_head``."""

    def __init__(self, sizes: QRNetSizes) -> None:
        super().__init__()
        self.sizes = sizes
        num_visual = sum(height * width for height, width in sizes.level_sizes)
        self.visumodel = VisualModel(sizes)
        self.reg_token = nn.Embedding(1, sizes.width)
        self.vl_pos_embed = nn.Embedding(1 + sizes.text_tokens + num_visual, sizes.width)
        self.scale_embed = nn.Embedding(5, sizes.neck_channels)
        self.visu_proj = nn.Linear(sizes.neck_channels, sizes.width)
        self.text_proj = nn.Linear(sizes.text_dim, sizes.width)
        self.vl_transformer = nn.ModuleDict(
            dict(encoder=Encoder(sizes.width, sizes.encoder_heads, sizes.feedforward, sizes.encoder_layers))
        )
        self.bbox_embed = BoxMLP(sizes.width)

    def forward(self, inputs: QRNetInputs) -> QRNetOutputs:
        sentence = inputs.text_features[:, 0]
        stages = self.visumodel.backbone(inputs.image, sentence)
        levels = self.visumodel.neck(stages, sentence)

        visual, paddings = [], []
        for i in (3, 4):  # strides 32 and 64
            visual.append(levels[i].flatten(2).transpose(1, 2) + self.scale_embed.weight[i])  # [B, N, C]
            paddings.append(nearest(inputs.image_padding_mask, *levels[i].shape[-2:]).flatten(1))
        reg = self.reg_token.weight.expand(len(sentence), 1, -1)
        x = torch.cat([reg, self.text_proj(inputs.text_features), self.visu_proj(torch.cat(visual, dim=1))], dim=1)
        padding = torch.cat([torch.zeros_like(paddings[0][:, :1]), inputs.text_padding_mask, *paddings], dim=1)
        x = self.vl_transformer.encoder(x, self.vl_pos_embed.weight, padding)
        return QRNetOutputs(stages, levels, x.transpose(0, 1), self.bbox_embed(x[:, 0]))


def l1_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Boxes and targets [B, 4]: the sum over the four numbers, averaged over samples."""
    return (boxes - targets).abs().sum() / len(boxes)


def giou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - GIoU of boxes and targets [B, 4] (cx, cy, w, h), averaged over samples."""
    (low, high), (target_low, target_high) = (
        (x[:, :2] - x[:, 2:] / 2, x[:, :2] + x[:, 2:] / 2) for x in (boxes, targets)
    )
    intersection = (torch.minimum(high, target_high) - torch.maximum(low, target_low)).clamp(min=0).prod(dim=1)
    union = boxes[:, 2:].prod(dim=1) + targets[:, 2:].prod(dim=1) - intersection
    hull = (torch.maximum(high, target_high) - torch.minimum(low, target_low)).prod(dim=1)
    return (1 - intersection / union + (hull - union) / hull).mean()


def random_qrnet(sizes: QRNetSizes, seed: int = 0) -> QRNet:
    """A network in float64 whose every parameter matters: no gate is closed, no norm is plain, no bias is zero."""
    generator = torch.Generator().manual_seed(seed)
    model = QRNet(sizes).double()
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if parameter.dim() == 1:
            centre = 1.0 if 'norm' in name and name.endswith('weight') else 0.0
            parameter.data = centre + 0.2 * noise
        else:
            fan_in = parameter.shape[0] if name.endswith('.V') else parameter[0].numel()
            if name.endswith('decoder.decoder.weight'):  # gates neither closed nor open: U has in + 1 rows of k
                fan_in *= parameter.shape[0] // sizes.rank
            parameter.data = noise * fan_in**-0.5
    return model


def random_inputs(sizes: QRNetSizes, batch: int = 2, seed: int = 0) -> QRNetInputs:
    """Inputs in float64; every image but the last has a padded side, every text but the last padded tokens."""
    generator = torch.Generator().manual_seed(seed)
    height, width = sizes.canvas
    image_padding = torch.zeros(batch, height, width, dtype=torch.bool)
    text_padding = torch.zeros(batch, sizes.text_tokens, dtype=torch.bool)
    for i in range(batch - 1):
        image_padding[i, :, width - width // (3 + i) :] = True
        text_padding[i, sizes.text_tokens - 1 - i % 3 :] = True
    return QRNetInputs(
        torch.randn(batch, 3, height, width, generator=generator, dtype=torch.float64),
        image_padding,
        torch.randn(batch, sizes.text_tokens, sizes.text_dim, generator=generator, dtype=torch.float64),
        text_padding,
    )

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.layers import MLP
from mmengine.model import BaseModule, ModuleList
from torch import Tensor

from mmuniqrnet.models.encoders.visual_linguistic_encoder import EncoderOutput
from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures.maps import require_channels
from mmuniqrnet.utils.errors import UserError


@MODELS.register_module()
class MaskBranch(BaseModule):
    """The mask from the encoder's visual maps and the neck's finer levels, up to stride 4 (our design).

    The encoder's visual tokens, which depend on the text, are reshaped to maps and combined with the neck's levels,
    from coarse to fine (upsample, add the lateral map, 3x3 convolution). The result are pixel features. A classifier
    computed from [REG] is applied to each pixel, as with the queries of MaskFormer. Box and mask are both predicted
    from this one token, so each task helps the other to find the right object.

    Args:
        embed_dims: d, the width of the encoder's tokens.
        in_channels: Channels of the neck's maps.
        feat_channels: Channels of the pixel features.
        levels: Indices of the neck's levels to combine, coarse to fine; the mask has the stride of the last one.
        norm_cfg: Normalisation of the convolutions.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        in_channels: int = 256,
        feat_channels: int = 256,
        levels: Sequence[int] = (2, 1, 0),
        norm_cfg: dict | None = dict(type='GN', num_groups=32),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.levels = tuple(levels)
        self.input_proj = ConvModule(embed_dims, feat_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.lateral_convs = ModuleList(
            ConvModule(in_channels, feat_channels, 1, norm_cfg=norm_cfg, act_cfg=None) for _ in self.levels
        )
        self.convs = ModuleList(
            ConvModule(feat_channels, feat_channels, 3, padding=1, norm_cfg=norm_cfg) for _ in self.levels
        )
        self.classifier = MLP(embed_dims, embed_dims, feat_channels + 1, 3)

    def forward(self, reg: Tensor, maps: Sequence[Tensor], levels: Sequence[Tensor]) -> Tensor:
        """Mask logits [B, 1, H / 4, W / 4].

        reg [B, d]; maps, the encoder's visual maps [B, d, h, w], finest first; levels, the neck's maps
        [B, in_channels, h, w].
        """
        return self._predict(reg, maps, self._laterals(levels))

    def forward_layers(self, layers: Sequence[EncoderOutput], levels: Sequence[Tensor]) -> list[Tensor]:
        """Mask logits of every encoder layer: the last layer's as :meth:`forward` gives them, the earlier ones' coarse.

        The earlier layers' logits [B, 1, h, w] have the stride of the first of ``levels``, 16 in UniQRNet. Finer levels
        are left out there because they would add nothing that differs between the layers: what depends on the layer has
        the encoder's strides. The neck's lateral maps are computed once for all layers.
        """
        laterals = self._laterals(levels)
        *earlier, last = layers
        logits = [self._predict(layer.reg, layer.maps, laterals[:1]) for layer in earlier]
        return [*logits, self._predict(last.reg, last.maps, laterals)]

    def _laterals(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The maps of the neck's levels in use, coarse to fine, [B, feat_channels, h, w]."""
        if max(self.levels, default=-1) >= len(levels):
            raise UserError(
                f'MaskBranch: levels={self.levels}, and the neck gives {len(levels)} maps, counted from 0; take levels '
                'that there are.'
            )
        chosen = [levels[i] for i in self.levels]
        require_channels('MaskBranch', [lateral.in_channels for lateral in self.lateral_convs], chosen, 'levels')
        return [lateral(x) for lateral, x in zip(self.lateral_convs, chosen)]

    def _predict(self, reg: Tensor, maps: Sequence[Tensor], laterals: Sequence[Tensor]) -> Tensor:
        """Mask logits [B, 1, h, w] at the stride of the last of ``laterals``, which may be fewer than the levels."""
        x = self.input_proj(merge_maps(maps))
        for lateral, conv in zip(laterals, self.convs):
            x = conv(resized(x, lateral) + lateral)
        return classify_pixels(x, self.classifier(reg))


def merge_maps(maps: Sequence[Tensor]) -> Tensor:
    """The sum of maps [B, d, h, w], finest first, resized to the finest."""
    x = maps[-1]
    for finer in reversed(maps[:-1]):
        x = finer + resized(x, finer)
    return x


def resized(x: Tensor, like: Tensor) -> Tensor:
    """A map [B, C, h, w], resized bilinearly to the height and width of another."""
    return F.interpolate(x, size=like.shape[-2:], mode='bilinear', align_corners=False)


def classify_pixels(x: Tensor, classifier: Tensor) -> Tensor:
    """Pixel features [B, c, h, w], weights and bias of each sample [B, c + 1] -> logits [B, 1, h, w]."""
    weight, bias = classifier.split([x.shape[1], 1], dim=1)  # [B, c], [B, 1]
    logits = torch.einsum('bc,bchw->bhw', weight, x) / x.shape[1] ** 0.5
    return (logits + bias[..., None]).unsqueeze(1)

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmdet.models.layers import MLP
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS

from .mask_branch import classify_pixels, merge_maps, resized

# What mmseg's heads use only in training and testing of their own, where the head that this branch is in has its ways.
NOT_OURS = {
    'loss_decode': 'UniQRNetHead has the losses (loss_mask_bce, loss_mask_dice)',
    'ignore_index': 'UniQRNetHead leaves padding out of the losses by itself',
    'sampler': 'UniQRNetHead has the losses and no pixel sampler',
    'num_classes': 'a mask has one class',
    'out_channels': 'a mask has one channel',
    'threshold': 'UniQRNetHead has it (test_cfg.mask_threshold)',
}


@MODELS.register_module()
class DecodeHeadMaskBranch(BaseModule):
    """The mask by any decode head of mmseg, such as ``mmseg.FPNHead`` (our design).

    The text reaches the decode head in two ways, neither of which depends on what is inside it. The encoder's visual
    maps, which have seen the text, are projected and added to every level of the neck, so that whichever levels the
    decode head reads have seen it, too. And in the place of ``conv_seg``, the decode head's last convolution, stands
    the classifier that is made from [REG] and applied to its pixel features, as in :class:`MaskBranch`.

    Of the decode head only the way from maps to logits is used: its losses, its sampler and its own prediction are
    not, and a config that sets them is refused.

    Args:
        decode_head: Config of the decode head, which reads the neck's levels (``in_index``, ``in_channels``), finest
            first. The mask has the stride of the first of them. Without the keys of ``NOT_OURS``.
        embed_dims: d, the width of the encoder's tokens.
        in_channels: Channels of the neck's maps.
        norm_cfg: Normalisation of the projected maps.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: ``decode_head`` sets what is not used.
    """

    def __init__(
        self,
        decode_head: dict,
        embed_dims: int = 256,
        in_channels: int = 256,
        norm_cfg: dict | None = dict(type='GN', num_groups=32),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        for key, reason in NOT_OURS.items():
            if key in decode_head:
                raise ValueError(
                    f'DecodeHeadMaskBranch: remove {key} from the config of {decode_head["type"]}: {reason}.'
                )
        # mmseg looks up the loss without a scope, and warns of its default's averaging, though it will not be called.
        unused = dict(num_classes=1, threshold=0.5, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))
        self.decode_head = MODELS.build(dict(decode_head, **unused, _scope_='mmseg'))
        if not isinstance(getattr(self.decode_head, 'conv_seg', None), nn.Conv2d):
            raise ValueError(
                f'DecodeHeadMaskBranch: {decode_head["type"]} has no conv_seg, whose place the '
                'classifier made from [REG] takes; choose another, such as mmseg.FPNHead.'
            )
        self.decode_head.conv_seg = nn.Identity()
        self.input_proj = ConvModule(embed_dims, in_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.classifier = MLP(embed_dims, embed_dims, self.decode_head.channels + 1, 3)

    def forward(self, reg: Tensor, maps: Sequence[Tensor], levels: Sequence[Tensor]) -> Tensor:
        """Mask logits [B, 1, h, w] at the stride of the finest level that the decode head reads.

        reg [B, d]; maps, the encoder's visual maps [B, d, h, w], finest first; levels, the neck's, [B, in_channels,
        h, w].
        """
        x = self.input_proj(merge_maps(maps))
        features = self.decode_head([level + resized(x, level) for level in levels])
        if not isinstance(features, Tensor) or features.shape[1] != self.decode_head.channels:
            raise ValueError(
                f'DecodeHeadMaskBranch: {type(self.decode_head).__name__} does not end in one map of '
                'features that conv_seg classifies; choose another decode head, such as mmseg.FPNHead.'
            )
        return classify_pixels(features, self.classifier(reg))

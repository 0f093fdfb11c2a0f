import copy
from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmdet.models.layers import MLP
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError, first_line

from .mask_branch import classify_pixels, merge_maps, resized

# Options that mmseg's heads use in their own training and testing, and why they have no effect here.
UNSUPPORTED_OPTIONS = {
    'loss_decode': 'UniQRNetHead computes the losses (loss_mask_bce, loss_mask_dice)',
    'ignore_index': 'UniQRNetHead excludes padding from the losses',
    'sampler': 'UniQRNetHead computes the losses, without a pixel sampler',
    'num_classes': 'a mask has one class',
    'out_channels': 'a mask has one channel',
    'threshold': 'the threshold is an option of UniQRNetHead (test_cfg.mask_threshold)',
}


# Decode heads that reshape a map in a way that needs it to be contiguous. The levels have the channels last, with
# which the others are faster.
CONTIGUOUS = ('DMHead', 'PSAHead')
# The size of the finest level at which a decode head is tried: that of a canvas of 640 pixels.
TRIED_SIZE = 160


@MODELS.register_module()
class DecodeHeadMaskBranch(BaseModule):
    """The mask from any decode head of mmseg, such as ``mmseg.FPNHead`` (our design).

    The text enters the decode head in two ways, which work for every decode head. First, the encoder's visual maps,
    which depend on the text, are projected and added to every level of the neck, so the decode head sees the text in
    whichever levels it reads. Second, ``conv_seg``, the decode head's last convolution, is replaced by a classifier
    that is computed from [REG] and applied to the pixel features, as in :class:`MaskBranch`.

    Only the decode head's path from maps to logits is used. A config that sets its losses, its sampler or options of
    its own prediction is refused.

    Args:
        decode_head: Config of the decode head, which reads the neck's levels (``in_index``, ``in_channels``), finest
            first. The mask has the stride of the first of them. The keys of ``UNSUPPORTED_OPTIONS`` must not be set.
        embed_dims: d, the width of the encoder's tokens.
        in_channels: Channels of the neck's maps.
        norm_cfg: Normalisation of the projected maps.
        init_cfg: mmengine initialisation.

    Raises:
        ValueError: If ``decode_head`` sets an unsupported option, has no ``conv_seg``, or fails on the neck's levels.
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
        for key, reason in UNSUPPORTED_OPTIONS.items():
            if key in decode_head:
                raise UserError(
                    f'DecodeHeadMaskBranch: remove {key} from the config of {decode_head["type"]}: {reason}.'
                )
        # The loss is never called; it is set because mmseg warns about the averaging of its default.
        unused = dict(num_classes=1, threshold=0.5, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))
        try:
            self.decode_head = MODELS.build(dict(decode_head, **unused, _scope_='mmseg'))
        except (TypeError, AssertionError) as error:
            raise UserError(
                f'DecodeHeadMaskBranch: {decode_head["type"]} cannot be built ({type(error).__name__}: '
                f'{first_line(error)}); correct its config, or choose another, such as mmseg.FPNHead.'
            ) from error
        if not isinstance(getattr(self.decode_head, 'conv_seg', None), nn.Conv2d):
            raise UserError(
                f'DecodeHeadMaskBranch: {decode_head["type"]} has no conv_seg, which the '
                'classifier computed from [REG] replaces; choose another, such as mmseg.FPNHead.'
            )
        self.decode_head.conv_seg = nn.Identity()
        try_decode_head(self.decode_head, in_channels)
        self.input_proj = ConvModule(embed_dims, in_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.classifier = MLP(embed_dims, embed_dims, self.decode_head.channels + 1, 3)

    def forward(self, reg: Tensor, maps: Sequence[Tensor], levels: Sequence[Tensor]) -> Tensor:
        """Mask logits [B, 1, h, w] at the stride of the finest level that the decode head reads.

        reg [B, d]; maps, the encoder's visual maps [B, d, h, w], finest first; levels, the neck's, [B, in_channels,
        h, w].
        """
        x = self.input_proj(merge_maps(maps))
        inputs = [level + resized(x, level) for level in levels]
        if type(self.decode_head).__name__ in CONTIGUOUS:
            inputs = [level.contiguous() for level in inputs]
        features = self.decode_head(inputs)
        return classify_pixels(features, self.classifier(reg))


@torch.no_grad()
def try_decode_head(decode_head: nn.Module, in_channels: int) -> None:
    """Call a decode head on levels without values, on the meta device, to find what would fail in training.

    Raises:
        ValueError: If it fails, or does not end in one map of ``decode_head.channels`` features.
    """
    name = type(decode_head).__name__
    read = decode_head.in_index if isinstance(decode_head.in_index, Sequence) else [decode_head.in_index]
    sizes = [max(TRIED_SIZE >> i, 1) for i in range(max(read) + 1)]
    levels = [torch.empty(2, in_channels, n, n, device='meta') for n in sizes]
    try:
        features = copy.deepcopy(decode_head).to('meta').eval()(levels)
    except Exception as error:
        if isinstance(error, NotImplementedError) or 'device meta' in str(error):
            return  # an operator that needs values
        raise UserError(
            f'DecodeHeadMaskBranch: {name} fails on the levels of the neck, which have {in_channels} channels each '
            f'({type(error).__name__}: {first_line(error)}); correct its config, or choose another, such as '
            'mmseg.FPNHead.'
        ) from error
    if not isinstance(features, Tensor) or features.shape[1] != decode_head.channels:
        raise UserError(
            f'DecodeHeadMaskBranch: {name} does not end in one map of features that conv_seg classifies; choose '
            'another decode head, such as mmseg.FPNHead.'
        )

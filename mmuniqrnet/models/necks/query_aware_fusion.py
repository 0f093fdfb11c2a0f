from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmuniqrnet.models.layers import Backend, QueryDynamicAttention, run_part
from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures.maps import require_channels
from mmuniqrnet.utils.errors import UserError


@MODELS.register_module()
class QueryAwareFusion(BaseModule):
    """The language-conditioned neck: query-aware multiscale fusion (QRNet, section 3.3).

    Lateral 1x1 convolutions, a top-down pass that adds coarse to fine, then a bottom-up pass in which each level is
    gated with the text, average-pooled and added to the next coarser level. Without a sentence nothing is gated.

    Args:
        in_channels: Channels of each incoming map, finest first.
        out_channels: Channels of every outgoing map.
        text_dim: D, the width of the sentence feature.
        num_outs: Number of outgoing maps; those beyond ``len(in_channels)`` are sub-sampled with stride 2 from the
            coarsest one.
        gated: Whether the bottom-up pass has QD-ATTs at all.
        channel_gate: Whether they gate channels.
        spatial_gate: Whether they gate positions.
        gate_reduction: The hidden layer of the channel gate has out_channels / gate_reduction units.
        gate_rank: Rank k of the dynamic layers.
        gate_norm: Whether the channel gates normalise their inputs; not as published.
        gate_limit: Limit of the gates' logits; None, as published, for none.
        init_cfg: mmengine initialisation.
    """

    takes_sentence = True
    # Set by compile_blocks: how the fusion is compiled.
    compile_backend: Backend = None

    def __init__(
        self,
        in_channels: Sequence[int] = (96, 192, 384, 768),
        out_channels: int = 256,
        text_dim: int = 768,
        num_outs: int = 5,
        gated: bool = True,
        channel_gate: bool = True,
        spatial_gate: bool = True,
        gate_reduction: int = 16,
        gate_rank: int = 30,
        gate_norm: bool = False,
        gate_limit: float | None = None,
        init_cfg: dict | None = dict(type='Xavier', layer='Conv2d', distribution='uniform'),
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_outs < len(in_channels):
            raise UserError(
                f'QueryAwareFusion: num_outs={num_outs} is less than the {len(in_channels)} maps of '
                f'in_channels={list(in_channels)}; give at least {len(in_channels)}.'
            )
        self.in_channels = tuple(in_channels)
        self.num_outs = num_outs
        # A plain nn.ModuleList, as in mmdet's FPN: BaseModule.init_weights would call ConvModule.init_weights for the
        # children of mmengine's after init_cfg, and its Kaiming initialisation would replace the Xavier one.
        self.lateral_convs = nn.ModuleList(ConvModule(c, out_channels, 1, act_cfg=None) for c in in_channels)
        self.gates = ModuleList(
            QueryDynamicAttention(
                out_channels,
                text_dim,
                channel_gate=channel_gate,
                spatial_gate=spatial_gate,
                reduction=gate_reduction,
                rank=gate_rank,
                gate_norm=gate_norm,
                gate_limit=gate_limit,
            )
            if gated
            else None
            for _ in in_channels[1:]
        )

    def forward(self, maps: Sequence[Tensor], sentence: Tensor | None = None) -> tuple[Tensor, ...]:
        """maps [B, C_i, H_i, W_i] finest first, sentence [B, text_dim] -> num_outs maps [B, out_channels, ., .]."""
        require_channels('QueryAwareFusion', self.in_channels, maps, "the backbone's out_indices")
        return run_part(type(self)._fuse, self.compile_backend, [self], self, maps, sentence)

    def _fuse(self, maps: Sequence[Tensor], sentence: Tensor | None) -> tuple[Tensor, ...]:
        levels = [conv(x) for conv, x in zip(self.lateral_convs, maps)]
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + F.interpolate(levels[i], size=levels[i - 1].shape[-2:], mode='nearest')
        for i, gate in enumerate(self.gates):
            x = levels[i]
            if sentence is not None and gate is not None:
                x = gate(x.flatten(2).transpose(1, 2), sentence).transpose(1, 2).unflatten(2, x.shape[-2:])
            # ceil_mode, because patch merging rounds odd sizes up as well.
            levels[i + 1] = levels[i + 1] + F.avg_pool2d(x, 2, ceil_mode=True)
        while len(levels) < self.num_outs:
            levels.append(F.max_pool2d(levels[-1], kernel_size=1, stride=2))
        return tuple(levels)

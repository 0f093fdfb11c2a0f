"""Blocks of Swin that compute what mmdet's do, from the same parameters, with less memory traffic."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmdet.models.backbones.swin import PatchMerging, SwinBlock, SwinTransformer
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .recomputed import gelu_linear, norm_linear, norm_mlp, norm_tokens
from .window_attention import attend_in_windows
from .window_layout import WindowLayout


class WindowBlock(SwinBlock):
    """mmdet's ``SwinBlock`` with the same parameters and numbers, and another calculation of the attention.

    Shift, padding and partition are one copy of the tokens instead of four, the attention is fused where torch can, and
    the norms are computed in the dtype of the matrix products instead of in float32 under autocast. Dropout of tokens
    and of attention weights is not supported, because Swin's recipes do not use it.

    Attributes:
        half_residual: Whether under autocast the tokens between the blocks are in autocast's dtype, too, which halves
            the memory traffic of the sums; otherwise they stay in float32.
        with_cp: Whether in training only the tokens before the attention and before the feed-forward part are kept; the
            rest is computed again in the backward pass, except the feed-forward part's last product.
    """

    half_residual = False

    @property
    def drop_rate(self) -> float:
        """The stochastic depth rate of both branches."""
        return getattr(self.ffn.dropout_layer, 'drop_prob', 0.0)

    def share_drop_path(self) -> None:
        """Hold the stochastic depth rate in a tensor, not in a number.

        Compiled code contains numbers as constants, so blocks of different rates would be compiled one by one.
        """
        keep = torch.tensor(1 - self.drop_rate, device=self.norm1.weight.device)
        self.register_buffer('keep_rate', keep, persistent=False)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Tokens x [B, H * W, C] of a map of (H, W) -> [B, H * W, C]."""
        attn, fc1, fc2 = self.attn, self.ffn.layers[0][0], self.ffn.layers[1]
        if self.half_residual and torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        layout = WindowLayout(*hw_shape, attn.window_size, attn.shift_size)
        if self.with_cp and self.training and torch.is_grad_enabled():
            # Without random numbers, so their state need not be kept.
            x = self._add_branch(
                x, lambda x: checkpoint(self._attend, x, layout, use_reentrant=False, preserve_rng_state=False)
            )
            return self._add_branch(x, lambda x: norm_mlp(self.norm2, fc1, fc2, x))
        x = self._add_branch(x, lambda x: self._attend(x, layout))
        return self._add_branch(x, lambda x: gelu_linear(fc2, norm_linear(self.norm2, fc1, x)))

    def _attend(self, x: Tensor, layout: WindowLayout) -> Tensor:
        qkv = norm_linear(self.norm1, self.attn.w_msa.qkv, x, layout)  # [B * n, T, 3C]
        return attend_in_windows(self.attn.w_msa, qkv, layout)

    def _add_branch(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """x + branch(x) [B, N, C], with the branch of some samples dropped as mmcv's ``DropPath`` does in training.

        On a CPU, the branch of these samples is not computed. On a GPU, choosing samples would wait for the device, and
        compiled code can not depend on how many there are.
        """
        keep: Tensor | float | None = getattr(self, 'keep_rate', None)
        if keep is None and self.drop_rate > 0:
            keep = 1 - self.drop_rate
        if not self.training or keep is None:
            return x + branch(x)
        # At least float32: half precision is too coarse for probabilities.
        dtype = torch.promote_types(x.dtype, torch.float32)
        kept = (torch.rand(x.shape[0], 1, 1, dtype=dtype, device=x.device) + keep).floor() / keep
        if x.device.type == 'cpu' and isinstance(keep, float) and not torch.compiler.is_compiling():
            return self._add_chosen(x, branch, kept)
        return torch.addcmul(x, branch(x), kept.to(x.dtype))

    def _add_chosen(self, x: Tensor, branch: Callable[[Tensor], Tensor], kept: Tensor) -> Tensor:
        """x + kept * branch(x), with the branch of those samples only whose ``kept`` [B, 1, 1] is not zero."""
        chosen = kept.flatten().nonzero().flatten()
        # If all are dropped, the parameters still need gradients, for which the processes of DDP wait.
        if len(chosen) in (0, len(x)):
            return torch.addcmul(x, branch(x), kept.to(x.dtype))
        return x.index_add(0, chosen, branch(x[chosen]).to(x.dtype), alpha=float(kept.max()))


class SlicingPatchMerging(PatchMerging):
    """mmdet's ``PatchMerging`` with the same parameters and numbers, without its ``Unfold``.

    Unfold orders the channels of four neighbours by channel, then by neighbour. Here the tokens stay as they are, which
    is a much faster copy, and the parameters are reordered, which are few in comparison.
    """

    def forward(self, x: Tensor, input_size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """Tokens x [B, H * W, C] of a map of (H, W) -> tokens of a map of half the size, rounded up, and its size."""
        height, width = input_size
        channels = x.shape[-1]
        x = x.unflatten(1, (height, width))
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        size = (height + 1) // 2, (width + 1) // 2
        x = x.unflatten(2, (size[1], 2)).unflatten(1, (size[0], 2)).transpose(2, 3)
        x = x.reshape(-1, size[0] * size[1], 4 * channels)  # ordered by neighbour, then by channel
        weight, bias = (p.view(channels, 4).t().flatten() for p in (self.norm.weight, self.norm.bias))
        reduction = self.reduction.weight.view(-1, channels, 4).transpose(1, 2).flatten(1)
        return F.linear(norm_tokens(x, weight, bias, self.norm.eps), reduction, self.reduction.bias), size


def use_window_blocks(swin: SwinTransformer, half_residual: bool = False, with_cp: bool = False) -> None:
    """Let the blocks and patch mergings of mmdet's Swin compute as those of this file do.

    mmdet's constructor gives no choice of the classes. The modules change their class and keep everything else, so
    names in checkpoints, initialisation and random numbers stay those of mmdet.
    """
    for module in swin.modules():
        if type(module) in (SwinBlock, WindowBlock):
            module.__class__ = WindowBlock
            module.half_residual, module.with_cp = half_residual, with_cp
        elif type(module) is PatchMerging and module.sampler.stride == module.sampler.kernel_size == (2, 2):
            module.__class__ = SlicingPatchMerging

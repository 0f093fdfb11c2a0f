from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from mmdet.models.backbones import SwinTransformer
from mmengine.model import ModuleList
from mmengine.model.weight_init import trunc_normal_init
from torch import Tensor, nn

from mmuniqrnet.checkpoints.loading import load_swin_of_detector
from mmuniqrnet.models.layers import (
    Backend,
    DynamicLinear,
    QueryDynamicAttention,
    layer_norm,
    run_part,
    use_window_blocks,
)
from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures.shared_images import take_rows
from mmuniqrnet.utils.errors import UserError


class UngatedTokens(NamedTuple):
    """The state of the backbone before its first gate, which does not depend on the text.

    Attributes:
        tokens: [B, N, C], after the blocks of the first gated stage.
        hw: Height and width of the grid of the N tokens.
        maps: The outputs of the stages before it.
    """

    tokens: Tensor
    hw: tuple[int, int]
    maps: list[Tensor]


@MODELS.register_module()
class QRNetSwin(SwinTransformer):
    """Swin whose stages are gated by the text: the query-modulated backbone of QRNet (section 3.2).

    Each stage ends with a QD-ATT. The gated tokens are both the stage's output and the input of patch merging, so the
    next stage sees them. Without a sentence this is a plain Swin, so it can be pre-trained and used in any mmdet
    detector. The weights are in mmdet's Swin layout, the gates under ``gates.{stage}``.

    Args:
        text_dim: D, the width of the sentence feature.
        channel_gate: Whether each QD-ATT gates channels.
        spatial_gate: Whether each QD-ATT gates places.
        gated_stages: Stages that have a QD-ATT, all of them if None; ``()`` for a text-agnostic backbone.
        gate_reduction: The channel gate's hidden layer has C / gate_reduction units.
        gate_rank: Rank k of the dynamic layers.
        gate_norm: Whether the channel gates normalise their inputs; not as published.
        gate_limit: Limit of the gates' logits; None, as published, for none.
        gate_output: How a stage's map is made from its tokens. ``'before_norm'``, as published: the tokens are gated,
            then normalised, so a gate that multiplies a token's channels alike changes almost nothing. ``'after_norm'``
            (our design): the tokens are normalised, then gated, each gate taken twice, so that new gates, which are
            0.5, change nothing. Patch merging gets the gated tokens either way.
        embed_dims: Channels of the first stage; each later stage has twice as many.
        depths: Blocks per stage.
        num_heads: Attention heads per stage.
        window_size: Side of the attention window, in tokens.
        patch_size: Side of a patch, in pixels; equals ``strides[0]``.
        strides: Down-sampling of patch embedding and of each patch merging.
        out_indices: Stages whose maps are returned.
        mlp_ratio: Hidden width of a block's MLP over its width.
        qkv_bias: Whether queries, keys and values have a bias.
        drop_path_rate: Largest stochastic depth rate, that of the last block.
        with_cp: Compute most of the blocks again in the backward pass, to save memory.
        frozen_stages: Number of first stages that are not trained, together with patch embedding; -1 trains all. Gates
            are always trained, because a pre-trained Swin does not have them.
        half_residual: Keep the tokens between the blocks, and the maps, in autocast's dtype under autocast, to save
            memory and time.
        convert_weights: Require the checkpoint of ``init_cfg`` to be in the original Swin layout; by default the layout
            is detected from the names.
        init_cfg: None, or ``dict(type='Pretrained', checkpoint=...)`` with a Swin of any layout that
            :func:`mmuniqrnet.checkpoints.load_swin` reads; it fails where the file does not fit.

    If the file of ``init_cfg`` is a detector's, ``init_weights`` keeps its neck's lateral convolutions in
    ``detector_laterals``, from where :class:`UniQRNet` gives them to its own neck; the file is read once.
    """

    takes_sentence = True
    # Set by compile_blocks: how the ends of the stages are compiled.
    compile_backend: Backend = None

    def __init__(
        self,
        text_dim: int = 768,
        channel_gate: bool = True,
        spatial_gate: bool = True,
        gated_stages: Sequence[int] | None = None,
        gate_reduction: int = 16,
        gate_rank: int = 30,
        gate_norm: bool = False,
        gate_limit: float | None = None,
        gate_output: Literal['before_norm', 'after_norm'] = 'before_norm',
        embed_dims: int = 96,
        depths: Sequence[int] = (2, 2, 18, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        patch_size: int = 4,
        strides: Sequence[int] = (4, 2, 2, 2),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        mlp_ratio: int = 4,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.2,
        with_cp: bool = False,
        frozen_stages: int = -1,
        half_residual: bool = False,
        convert_weights: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            embed_dims=embed_dims,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            patch_size=patch_size,
            strides=tuple(strides),
            out_indices=tuple(out_indices),
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            drop_path_rate=drop_path_rate,
            frozen_stages=frozen_stages,
            convert_weights=convert_weights,
            init_cfg=init_cfg,
        )
        use_window_blocks(self, half_residual, with_cp)
        if gate_output not in ('before_norm', 'after_norm'):
            raise UserError(f"QRNetSwin: gate_output is 'before_norm' or 'after_norm', not {gate_output!r}.")
        self.text_dim = text_dim
        self.detector_laterals: dict[str, Tensor] = {}
        self.half_residual = half_residual
        self.gate_output = gate_output
        gated_stages = range(len(depths)) if gated_stages is None else gated_stages
        if gated_stages and not 0 <= min(gated_stages) <= max(gated_stages) < len(depths):
            raise UserError(
                f'QRNetSwin: gated_stages={tuple(gated_stages)} names a stage that does not exist; depths has '
                f'{len(depths)} stages, 0 to {len(depths) - 1}.'
            )
        gated = set(gated_stages) if channel_gate or spatial_gate else set()
        self.gates = ModuleList(
            QueryDynamicAttention(
                channels,
                text_dim,
                channel_gate=channel_gate,
                spatial_gate=spatial_gate,
                reduction=gate_reduction,
                rank=gate_rank,
                gate_norm=gate_norm,
                gate_limit=gate_limit,
            )
            if i in gated
            else None
            for i, channels in enumerate(self.num_features)
        )
        # Without any gate, all blocks belong to before_text.
        self.first_gate = min(gated, default=len(depths) - 1)
        # mmdet's Swin freezes at the first train() only, which is too late for an optimiser or DDP built before.
        self._freeze_stages()

    def train(self, mode: bool = True) -> 'QRNetSwin':
        super().train(mode)
        return self  # mmdet's Swin returns None, and so would eval()

    def init_weights(self) -> None:
        """Initialise randomly, or from ``init_cfg``'s checkpoint; the V of gates that it lacks is not changed.

        Raises:
            ValueError: If ``init_cfg`` is of another kind, or its checkpoint cannot be read or does not fit.
        """
        if not self.init_cfg:
            super().init_weights()
            self._init_unit_decoders()
            return
        if (
            not isinstance(self.init_cfg, dict)
            or set(self.init_cfg) != {'type', 'checkpoint'}
            or (self.init_cfg['type'] != 'Pretrained')
        ):
            raise UserError(
                f"QRNetSwin: init_cfg is None or dict(type='Pretrained', checkpoint='FILE'), not {self.init_cfg}."
            )
        for module in self.gates.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_init(module, std=0.02, bias=0.0)
        self._init_unit_decoders()
        layout = 'original' if self.convert_weights else 'auto'
        _, self.detector_laterals = load_swin_of_detector(self, self.init_cfg['checkpoint'], layout)

    def _init_unit_decoders(self) -> None:
        """Undo Swin's initialisation of linear layers where it does not apply."""
        for module in self.gates.modules():
            if isinstance(module, DynamicLinear) and module.unit_text:
                module.init_unit_decoder()

    def forward(self, images: Tensor, sentence: Tensor | None = None, image_of: Tensor | None = None) -> list[Tensor]:
        """images [B, 3, H, W], sentence [B, text_dim] -> one map [B, C_i, H / s_i, W / s_i] per stage of out_indices.

        s_i is 4, 8, 16, 32 with the usual strides; sizes are rounded up. With ``image_of`` [B], the row of the image
        that each sentence refers to, there are fewer images, and what precedes the first gate is computed once for
        each of them. In training, each of its blocks is then dropped (``drop_path_rate``) for all sentences of an image
        or for none.
        """
        return self.after_text(take_rows(self.before_text(images), image_of), sentence)

    def before_text(self, images: Tensor) -> UngatedTokens:
        """Compute the part that does not depend on the text, up to the first gate, of images [B, 3, H, W]."""
        x, hw = self.patch_embed(images)  # [B, N, C_0]
        x = self.drop_after_pos(x)
        maps: list[Tensor] = []
        for stage in range(self.first_gate):
            x, hw = self._run_stage_end(stage, self._blocks(stage, x, hw), hw, maps)
        return UngatedTokens(self._blocks(self.first_gate, x, hw), hw, maps)

    def after_text(self, ungated: UngatedTokens, sentence: Tensor | None = None) -> list[Tensor]:
        """Compute the rest, from the first gate on; sentence [B, text_dim] -> the maps of :meth:`forward`."""
        x, hw, maps = ungated.tokens, ungated.hw, list(ungated.maps)
        for stage in range(self.first_gate, len(self.stages)):
            if stage > self.first_gate:
                x = self._blocks(stage, x, hw)
            x, hw = self._run_stage_end(stage, x, hw, maps, sentence)
        return maps

    def _blocks(self, stage: int, x: Tensor, hw: tuple[int, int]) -> Tensor:
        for block in self.stages[stage].blocks:
            x = block(x, hw)
        return x

    def _run_stage_end(
        self, stage: int, x: Tensor, hw: tuple[int, int], maps: list[Tensor], sentence: Tensor | None = None
    ) -> tuple[Tensor, tuple[int, int]]:
        """:meth:`_finish_stage`, compiled or not; appends the stage's map, if it has one, to ``maps``."""
        norm = getattr(self, f'norm{stage}', None)
        modules = (self.gates[stage], norm, self.stages[stage].downsample)
        x, hw, out = run_part(type(self)._finish_stage, self.compile_backend, modules, self, stage, x, hw, sentence)
        if out is not None:
            maps.append(out)
        return x, hw

    def _finish_stage(
        self, stage: int, x: Tensor, hw: tuple[int, int], sentence: Tensor | None
    ) -> tuple[Tensor, tuple[int, int], Tensor | None]:
        """Gate a stage's tokens and merge its patches: -> tokens, their map's size, and the stage's map, if any."""
        gate = self.gates[stage] if sentence is not None else None
        norm = getattr(self, f'norm{stage}') if stage in self.out_indices else None
        if norm is not None and self.half_residual:
            norm = partial(layer_norm, norm)  # autocast computes norms in float32
        if gate is not None and norm is not None and self.gate_output == 'after_norm':
            x, out = gate(x, sentence, norm(x))
        else:
            x = x if gate is None else gate(x, sentence)
            out = None if norm is None else norm(x)
        if out is not None:
            out = out.transpose(1, 2).unflatten(2, hw)
        downsample = self.stages[stage].downsample
        return (x, hw, out) if downsample is None else (*downsample(x, hw), out)

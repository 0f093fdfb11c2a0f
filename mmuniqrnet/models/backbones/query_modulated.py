from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from mmengine.model import BaseModule, ModuleList
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmuniqrnet.models.layers import QueryDynamicAttention, init_gates
from mmuniqrnet.registry import MODELS, ModuleOrConfig, build_module
from mmuniqrnet.structures.shared_images import take_rows
from mmuniqrnet.utils.errors import UserError

from .seams import OutputSeam, Tokens, find_seam
from .seams.base import to_map


class UngatedStages(NamedTuple):
    """The state of the backbone before its first gate, which does not depend on the text.

    Attributes:
        tokens: The output of the first gated stage.
        maps: The maps of the stages before it.
    """

    tokens: Tokens
    maps: list[Tensor]


@MODELS.register_module()
class QueryModulated(BaseModule):
    """Any backbone of several stages, gated by the text as QRNet gates Swin (section 3.2); our generalisation.

    Each stage ends with a QD-ATT. Where the stages can be run one by one (``gates_between`` is true), the gated tokens
    are both the stage's output and the input of the next stage, as in QRNet. Of any other backbone the maps that it
    returns are gated, and no stage sees the gates of another one. The documentation has a table of which is which.
    Without a sentence this is the backbone alone. With mmdet's Swin it is :class:`QRNetSwin`.

    The backbone keeps its own options (frozen stages, gradient checkpointing, ``init_cfg``). Its parameters have their
    names after ``body.``; the gates are under ``gates.{stage}``.

    Args:
        body: The backbone, or its config: of mmdet or mmseg, :class:`TimmBackbone`, :class:`TransformersBackbone`, or
            any other module that turns images into a tuple of maps [B, C, H, W].
        text_dim: D, the width of the sentence feature.
        channel_gate: Whether each QD-ATT gates channels.
        spatial_gate: Whether each QD-ATT gates places.
        gated_stages: Stages that have a QD-ATT, numbered as in ``out_indices`` of the backbone; by default all of them,
            up to the last one of ``out_indices``.
        gate_reduction: The channel gate's hidden layer has C / gate_reduction units.
        gate_rank: Rank k of the dynamic layers.
        gate_norm: Whether the channel gates normalise their inputs; not as published.
        gate_limit: Limit of the gates' logits; None, as published, for none.
        gate_output: How a stage's map is made from its tokens. ``'before_norm'``, as published: the tokens are gated,
            then normalised, if the backbone normalises its outputs. ``'after_norm'`` (our design): the tokens are
            normalised, then gated, each gate taken twice, so that new gates, which are 0.5, change nothing. The next
            stage gets the gated tokens either way.
        between: Whether gates act between the stages: True, False (on the maps that are returned alone), or None,
            between them where it is possible.
        pyramid: A module that turns the maps into those that are returned, or its config, such as
            ``mmseg.Feature2Pyramid`` for a backbone whose maps are all of one size; None to return them as they are.
        with_cp: Recompute each stage in the backward pass, to save memory, whatever the backbone; layers that count
            batches, such as a BatchNorm in training mode, count twice. Where the backbone has an option of this name
            it recomputes single blocks, which saves more.
        init_cfg: mmengine initialisation of the whole; the backbone has its own.

    Raises:
        UserError: If the backbone has less than two stages, or ``gated_stages`` names one that does not exist, or
            ``between`` is True and not possible.
    """

    takes_sentence = True

    def __init__(
        self,
        body: ModuleOrConfig,
        text_dim: int = 768,
        channel_gate: bool = True,
        spatial_gate: bool = True,
        gated_stages: Sequence[int] | None = None,
        gate_reduction: int = 16,
        gate_rank: int = 30,
        gate_norm: bool = False,
        gate_limit: float | None = None,
        gate_output: Literal['before_norm', 'after_norm'] = 'before_norm',
        between: bool | None = None,
        pyramid: ModuleOrConfig | None = None,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if gate_output not in ('before_norm', 'after_norm'):
            raise UserError(f"QueryModulated: gate_output is 'before_norm' or 'after_norm', not {gate_output!r}.")
        self.body = build_module(body)
        self.pyramid = build_module(pyramid)
        self.text_dim = text_dim
        self.gate_output = gate_output
        self.with_cp = with_cp
        if getattr(self.body, 'takes_sentence', False):
            raise UserError(
                f'QueryModulated: {type(self.body).__name__} takes a sentence itself; give a plain backbone.'
            )
        seam = find_seam(self.body) if between is not False else None
        if seam is None and between:
            raise UserError(
                f'QueryModulated: the stages of {type(self.body).__name__} cannot be run one by one; set between=None, '
                'so that the gates act on the maps that it returns.'
            )
        self.seam = OutputSeam() if seam is None else seam
        self.out_indices = self._checked_out_indices()
        num_stages = max(self.out_indices) + 1  # those after it are not run
        self.channels = tuple(self.seam.channels(self.body, num_stages - 1))
        gated_stages = range(num_stages) if gated_stages is None else gated_stages
        if gated_stages and not 0 <= min(gated_stages) <= max(gated_stages) < num_stages:
            raise UserError(
                f'QueryModulated: gated_stages={tuple(gated_stages)} names a stage of {type(self.body).__name__} on '
                f'which no map depends; its out_indices={self.out_indices} need the stages 0 to {num_stages - 1}.'
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
            for i, channels in enumerate(self.channels)
        )
        # Without any gate, all stages belong to before_text.
        self.first_gate = min(gated, default=num_stages - 1)
        # DDP waits for the gradient of every parameter that is trained.
        for part in self.seam.unused(self.body, num_stages - 1):
            part.requires_grad_(False)
        # mmdet's Swin freezes at the first train() only, which is too late for an optimiser or DDP built before.
        self.body.train(self.training)

    @property
    def gates_between(self) -> bool:
        """Whether a gate acts on the input of the next stage, and not on the outputs alone."""
        return self.seam.between

    def _checked_out_indices(self) -> tuple[int, ...]:
        name = type(self.body).__name__
        count = self.seam.num_stages(self.body)
        if count < 2:
            raise UserError(
                f'QueryModulated: {name} has one stage or returns one map, and gates are for the stages of a backbone: '
                'let it return the maps of two or more (out_indices, or out_features of TransformersBackbone).'
            )
        indices = self.seam.out_indices(self.body)
        indices = (indices,) if isinstance(indices, int) else tuple(indices)
        if not indices or sorted(set(indices)) != list(indices) or not 0 <= indices[0] <= indices[-1] < count:
            raise UserError(
                f'QueryModulated: out_indices of {name} must name some of its {count} stages, 0 to {count - 1}, in '
                f'ascending order, not {indices}.'
            )
        return indices

    def init_weights(self) -> None:
        """Initialise the gates, then the backbone and the rest as their ``init_cfg`` says."""
        if not self.is_init:
            init_gates(self.gates)
        super().init_weights()

    def forward(
        self, images: Tensor, sentence: Tensor | None = None, image_of: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """images [B, 3, H, W], sentence [B, text_dim] -> one map [B, C_i, H_i, W_i] per stage of the backbone's
        ``out_indices``, or what ``pyramid`` makes of them.

        With ``image_of`` [B], the row of the image that each sentence refers to, there are fewer images, and what
        precedes the first gate is computed once for each of them.
        """
        return self.after_text(take_rows(self.before_text(images), image_of), sentence)

    def before_text(self, images: Tensor) -> UngatedStages:
        """Compute the part that does not depend on the text, up to the first gate, of images [B, 3, H, W]."""
        x = self.seam.stem(self.body, images)
        maps: list[Tensor] = []
        for i in range(self.first_gate):
            tokens = self._finish_stage(i, self._stage(i, x), maps)
            x = self.seam.following(self.body, i, tokens)
        return UngatedStages(self._stage(self.first_gate, x), maps)

    def after_text(self, ungated: UngatedStages, sentence: Tensor | None = None) -> tuple[Tensor, ...]:
        """Compute the rest, from the first gate on; sentence [B, text_dim] -> the maps of :meth:`forward`."""
        tokens, maps = ungated.tokens, list(ungated.maps)
        for i in range(self.first_gate, len(self.gates)):
            if i > self.first_gate:
                tokens = self._stage(i, self.seam.following(self.body, i - 1, tokens))
            gate = self.gates[i] if sentence is not None else None
            tokens = self._finish_stage(i, tokens, maps, gate, sentence)
        return tuple(maps if self.pyramid is None else self.pyramid(maps))

    def _stage(self, i: int, x: Any) -> Tokens:
        if self.with_cp and self.training:
            return checkpoint(self.seam.stage, self.body, i, x, use_reentrant=False)
        return self.seam.stage(self.body, i, x)

    def _finish_stage(
        self,
        i: int,
        tokens: Tokens,
        maps: list[Tensor],
        gate: QueryDynamicAttention | None = None,
        sentence: Tensor | None = None,
    ) -> Tokens:
        """Gate a stage's tokens, and append its map to ``maps`` if it is in ``out_indices``."""
        returned = i in self.out_indices
        if gate is not None and returned and self.gate_output == 'after_norm':
            values, out = gate(tokens.values, sentence, self.seam.normalised(self.body, i, tokens))
            tokens = tokens._replace(values=values)
        else:
            if gate is not None:
                tokens = tokens._replace(values=gate(tokens.values, sentence))
            out = self.seam.normalised(self.body, i, tokens) if returned else None
        if out is not None:
            maps.append(to_map(out, tokens.hw))
        return tokens

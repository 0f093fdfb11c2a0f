"""Convert the outputs of the head's branches to an answer in pixels of the original image."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.structures import InstanceData
from torch import Tensor

from mmuniqrnet.structures import Placement
from mmuniqrnet.utils.errors import UserError

EXTRA_MASKS = ('mask_probs', 'input_masks')


@dataclass(frozen=True)
class TestCfg:
    """``test_cfg`` of :class:`UniQRNetHead`: options of prediction only.

    Args:
        mask_threshold: A pixel belongs to the mask if its probability is higher; more than 0 and less than 1.
        mask_margin: Cut masks to their box, enlarged on every side by this share of its width or height; None does not
            cut them.
        extra_masks: Additional fields of answers, which published protocols need (``ReferringMetric(protocol=...)``):
            ``'mask_probs'``, the probabilities (float [1, H, W], original pixels), for ``cris`` and ``cris_val``, and
            ``'input_masks'`` (bool [1, h, w], pixels of the resized image without padding), for ``lavt`` and
            ``seqtr``. By default there are none, because they need memory.

    Raises:
        ValueError: An option is unknown or out of range, or needs a branch that the head does not have.
    """

    __test__ = False  # tells pytest that this is not a test class

    mask_threshold: float = 0.5
    mask_margin: float | None = None
    extra_masks: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any] | None, has_box: bool, has_mask: bool) -> 'TestCfg':
        """Check the options of a config for a head with or without a box and a mask branch."""
        options = dict(options or {})
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                near = get_close_matches(name, known, n=1) or known
                raise UserError(f'UniQRNetHead: test_cfg has no option {name!r}; did you mean {" or ".join(near)}?')
        threshold = options.get('mask_threshold', cls.mask_threshold)
        if not 0 < threshold < 1:
            raise UserError(f'UniQRNetHead: mask_threshold={threshold} is a probability: more than 0 and less than 1.')
        extra = options.get('extra_masks', ())
        if isinstance(extra, str) or any(name not in EXTRA_MASKS for name in extra):
            raise UserError(
                f'UniQRNetHead: extra_masks is a list of some of {", ".join(map(repr, EXTRA_MASKS))}, not {extra!r}.'
            )
        if extra and not has_mask:
            raise UserError('UniQRNetHead: extra_masks needs a mask_branch.')
        margin = options.get('mask_margin')
        if margin is not None and (not has_box or not has_mask or margin < 0):
            raise UserError(
                f'UniQRNetHead: mask_margin={margin} needs a box_branch and a mask_branch, and must not be negative; '
                'None does not cut masks.'
            )
        return cls(**dict(options, extra_masks=tuple(extra)))


def to_answer(out: Mapping[str, Tensor], placement: Placement, cfg: TestCfg) -> InstanceData:
    """Convert the outputs of one sample to one instance in original pixels.

    Args:
        out: ``boxes`` [4] (cxcywh, 0..1 of the canvas), ``mask_logits`` [1, h, w] (over the canvas) and
            ``score_logits`` [], as far as the head has them.
        placement: The position of the image on the canvas.
        cfg: The options.

    Returns:
        ``scores`` [1] (1 without a score branch) and ``labels`` [1] (0); ``bboxes`` [1, 4] (xyxy) and ``masks``
        [1, H, W] (bool) if the head has them; the fields of ``extra_masks``.
    """
    answer = InstanceData()
    device = next(iter(out.values())).device
    if 'boxes' in out:
        height, width = placement.canvas_shape
        box = bbox_cxcywh_to_xyxy(out['boxes'][None]) * out['boxes'].new_tensor([width, height, width, height])
        answer.bboxes = placement.boxes_to_original(box)
    if 'mask_logits' in out:
        probs = placement.map_to_original(out['mask_logits']).sigmoid()
        answer.masks = probs > cfg.mask_threshold
        if 'mask_probs' in cfg.extra_masks:
            answer.mask_probs = probs
        if 'input_masks' in cfg.extra_masks:
            answer.input_masks = placement.map_to_input(out['mask_logits']).sigmoid() > cfg.mask_threshold
    score = out['score_logits'].sigmoid() if 'score_logits' in out else torch.ones((), device=device)
    answer.scores = score.reshape(1)
    answer.labels = torch.zeros(1, dtype=torch.long, device=device)
    return answer

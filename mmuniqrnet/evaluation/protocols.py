"""Evaluation protocols of published work, by name; metrics of different protocols are not comparable.

``original`` is the protocol of this project. The others follow the authors' public test code; each states what it does
differently and which field of ``pred_instances`` it needs. A model that does not provide that field cannot be scored
by that protocol, because a mask that is already thresholded and resized to the original image lacks the values that
the published code uses.
"""

from dataclasses import dataclass
from typing import Literal

from mmuniqrnet.utils.errors import UserError

PR_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
PR_NAMES = tuple(f'Pr@{threshold}' for threshold in PR_THRESHOLDS)


@dataclass(frozen=True)
class Protocol:
    """One way to compute metrics from predictions and truth.

    Args:
        name: Its name; keys of metrics start with it unless it is ``original``, as in ``refcoco/val/cris_mIoU``.
        metrics: The metrics it defines; None = all.
        mask_field: The field of ``pred_instances`` with the masks: ``masks`` (bool [n, H, W], original pixels),
            ``mask_probs`` (probabilities, float [n, H, W], original pixels) or ``input_masks`` (bool [n, h, w] on the
            network's grid, without the padding).
        mask_threshold: Pixels of ``mask_probs`` above it belong to the mask.
        resize_truth: The library whose nearest neighbour resizes the truth to the grid of ``input_masks``.
        pr_inclusive: Pr@X counts IoU >= X (True) or IoU > X (False).
        empty_iou: Mask IoU where both prediction and truth are empty.
        union_epsilon: Added to each union (pixels) before dividing.
        first_sentence_only: Only the first sentence (smallest sent_id) of each ref counts.
        batch_means: Acc and Pr are means of the means of batches, so the items of a short last batch weigh more.
        parts_as_crowd: A truth of several polygons is scored as COCO scores a crowd: intersection over the area of the
            prediction, not over the union.
        clip_truth_box: The truth box is clipped to [0, width - 1] x [0, height - 1].
    """

    name: str
    metrics: tuple[str, ...] | None = None
    mask_field: Literal['masks', 'mask_probs', 'input_masks'] = 'masks'
    mask_threshold: float = 0.5
    resize_truth: Literal['pillow', 'opencv'] = 'pillow'
    pr_inclusive: bool = True
    empty_iou: float = 1.0
    union_epsilon: float = 0.0
    first_sentence_only: bool = False
    batch_means: bool = False
    parts_as_crowd: bool = False
    clip_truth_box: bool = False


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(name='original'),
        # test.py of yz93/LAVT-RIS: image and truth stretched to 480 x 480, compared there, batch size 1.
        Protocol(name='lavt', metrics=('oIoU', 'mIoU', *PR_NAMES), mask_field='input_masks', empty_iou=0.0),
        # inference() in engine/engine.py of DerrickWang005/CRIS.pytorch, called by its test.py: all sentences.
        Protocol(
            name='cris',
            metrics=('mIoU', *PR_NAMES),
            mask_field='mask_probs',
            mask_threshold=0.35,
            pr_inclusive=False,
            empty_iou=0.0,
            union_epsilon=1e-6,
        ),
        # validate() in the same file: what it prints while training, on the first sentence of each ref.
        Protocol(
            name='cris_val',
            metrics=('mIoU', *PR_NAMES),
            mask_field='mask_probs',
            mask_threshold=0.35,
            pr_inclusive=False,
            empty_iou=0.0,
            union_epsilon=1e-6,
            first_sentence_only=True,
        ),
        # seqtr/apis/test.py of seanzhuh/SeqTR, with is_crowd and box as its LoadImageAnnotationsFromFile sets them.
        # It also counts the duplicates that a distributed sampler pads with; here they are dropped.
        Protocol(
            name='seqtr',
            metrics=('Acc@0.5', 'mIoU', *PR_NAMES),
            mask_field='input_masks',
            resize_truth='opencv',
            empty_iou=0.0,
            batch_means=True,
            parts_as_crowd=True,
            clip_truth_box=True,
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
        ValueError: There is no such protocol.
    """
    if name not in PROTOCOLS:
        raise UserError(f"there is no protocol '{name}'; known protocols are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

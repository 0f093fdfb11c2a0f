"""The prediction for one expression compared with its truth: a small record, from which all metrics are computed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmuniqrnet.structures.answers import best_index, is_refused
from mmuniqrnet.structures.masks import decode_mask, encode_mask, overlap_with_rle, tight_box, with_text_counts
from mmuniqrnet.structures.overlap import box_iou, mask_overlap, ratio, resize_nearest
from mmuniqrnet.structures.truth import truth_box, truth_rle
from mmuniqrnet.utils.errors import UserError

from .protocols import Protocol

NEEDED = ('dataset', 'split', 'sent_id', 'img_id', 'text', 'ori_shape', 'instances')


def score_expression(
    sample: Mapping[str, Any], protocol: Protocol, refuse_below: float | None = None, keep_masks: bool = False
) -> dict[str, Any]:
    """Compare the prediction of one data sample with the truth in it.

    Boxes are xyxy in original pixels. Of several predictions the one with the highest score counts. An IoU that can
    not be computed is None: ``box_iou`` if the truth is not exactly one object with a box, ``mask_iou`` if an object
    of the truth has no mask, and either if the model does not predict it. If the expression has no target
    (``instances`` is empty), ``box_iou`` is 1 if no box is predicted and else 0, and ``mask_iou`` is 1 for an empty
    mask.

    A prediction with a score below ``refuse_below`` is refused: its box is removed and its mask becomes empty.
    ``quality``, the value that the score predicts, does not depend on that: it is the IoU of the prediction before it
    is refused (of the box if the model gives boxes, else of the mask), and 0 without a target. ``empty`` is True if
    the model found nothing by itself.

    Args:
        sample: ``to_dict()`` of a data sample, with the keys ``NEEDED`` and ``pred_instances``.
        protocol: How to compare.
        refuse_below: The threshold of the score; None = nothing is refused.
        keep_masks: Add ``truth_mask`` and ``pred_mask`` as RLE to the record.

    Raises:
        ValueError: The sample or the prediction lacks something, or it has a wrong shape.
    """
    missing = [key for key in NEEDED if key not in sample]
    if missing:
        raise UserError(
            f'the data sample of {_name(sample)} has no {missing} in its metainfo, which ReferringMetric '
            'needs: add them to the meta_keys of the transform that packs the sample'
        )
    try:
        return _score(sample, protocol, refuse_below, keep_masks)
    except UserError as error:
        raise UserError(f'{_name(sample)}: {error}') from None


def _score(
    sample: Mapping[str, Any], protocol: Protocol, refuse_below: float | None, keep_masks: bool
) -> dict[str, Any]:
    height, width = (int(side) for side in sample['ori_shape'][:2])
    instances = sample['instances']
    prediction = _best_prediction(sample.get('pred_instances', {}), protocol.mask_field)
    score = prediction['score']
    if refuse_below is not None and score is None:
        raise UserError('refuse_below is set, but the prediction has no score')
    refused = is_refused(score, refuse_below)

    box, has_box = prediction['box'], prediction['has_box']
    mask = _pred_mask(prediction['mask'], protocol, (height, width))
    empty = bool(not mask.any() if mask is not None else has_box and box is None)
    record = {key: sample.get(key) for key in ('dataset', 'split', 'sent_id', 'ref_id', 'img_id', 'img_path', 'text')}
    record.update(
        height=height, width=width, score=score, targets=len(instances), empty=empty, refused=bool(refused or empty)
    )

    def judge(box: list[float] | None, mask: np.ndarray | None) -> dict[str, Any]:
        return _score_box(box, has_box, instances, protocol, (height, width)) | _score_mask(
            mask, instances, protocol, (height, width), keep_masks
        )

    judged = judge(box, mask)
    record['quality'] = 0.0 if not instances else judged['box_iou' if has_box else 'mask_iou']
    if refused:
        box, mask = None, None if mask is None else np.zeros_like(mask)
        judged = judge(box, mask)
    record.update(judged)
    # Published protocols do not have it, and the masks of some are not in the pixels of the box.
    comparable = has_box and protocol.metrics is None
    record['box_mask_iou'] = _box_against_mask(box, mask) if comparable else None
    return record


def _score_box(
    box: list[float] | None, has_box: bool, instances: list, protocol: Protocol, size: tuple[int, int]
) -> dict[str, Any]:
    truth = truth_box(instances)
    if truth is not None and protocol.clip_truth_box:
        limits = np.array([size[1] - 1, size[0] - 1] * 2)
        truth = np.clip(truth, 0, limits).tolist()
    iou = None
    if has_box and truth is not None:
        iou = 0.0 if box is None else float(box_iou(box, truth))
    elif has_box and not instances:
        iou = float(box is None)
    return dict(truth_box=truth, pred_box=box, box_iou=iou)


def _score_mask(
    mask: np.ndarray | None, instances: list, protocol: Protocol, size: tuple[int, int], keep_masks: bool
) -> dict[str, Any]:
    truth = truth_rle(instances, *size) if mask is not None or keep_masks else None
    result: dict[str, Any] = dict(mask_intersection=None, mask_union=None, mask_iou=None)
    if truth is not None and mask is not None:
        if protocol.mask_field == 'input_masks':
            bitmap = np.ascontiguousarray(decode_mask(truth, *size))
            height, width = mask.shape
            compared = resize_nearest(bitmap, height, width, like=protocol.resize_truth)
            intersection, union = mask_overlap(mask, compared)
        else:
            intersection, union = overlap_with_rle(mask, truth)
        crowd = protocol.parts_as_crowd and any(
            isinstance(instance['mask'], list) and len(instance['mask']) > 1 for instance in instances
        )
        denominator: float = int(np.count_nonzero(mask)) if crowd else union
        if denominator:
            denominator += protocol.union_epsilon
        result = dict(
            mask_intersection=intersection,
            mask_union=union,
            mask_iou=ratio(intersection, denominator, empty=protocol.empty_iou),
        )
    if keep_masks:
        result['truth_mask'] = None if truth is None else with_text_counts(truth)
        result['pred_mask'] = None if mask is None else encode_mask(mask)
    return result


def _box_against_mask(box: list[float] | None, mask: np.ndarray | None) -> float | None:
    if mask is None:
        return None
    around = tight_box(mask)
    if box is None or around is None:
        return float(box is None and around is None)
    return float(box_iou(box, around))


def _best_prediction(instances: Mapping[str, Any], mask_field: str) -> dict[str, Any]:
    boxes, scores, masks = (_to_numpy(instances.get(key)) for key in ('bboxes', 'scores', mask_field))
    if mask_field != 'masks' and masks is None and instances.get('masks') is not None:
        raise UserError(f"this protocol scores pred_instances.{mask_field}, but the model gives only 'masks'")
    counts = {len(field) for field in (boxes, scores, masks) if field is not None}
    if len(counts) > 1:
        raise UserError(f'pred_instances has fields of different lengths {sorted(counts)}')
    if boxes is not None and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise UserError(f'predicted boxes must be [n, 4], not {list(boxes.shape)}')
    if masks is not None and masks.ndim != 3:
        raise UserError(f'predicted masks must be [n, H, W], not {list(masks.shape)}')
    found: dict[str, Any] = dict(has_box=boxes is not None, box=None, score=None, mask=None)
    if counts == {0}:
        # No instance means that the model found nothing, which is scored as an empty mask.
        found['mask'] = None if masks is None else np.zeros(masks.shape[1:], dtype=masks.dtype)
        found['score'] = None if scores is None else 0.0
        return found
    if counts and counts != {1} and scores is None:
        raise UserError('there are several predictions without scores, so the best one is not known')
    best = best_index(scores)
    found['score'] = None if scores is None else float(scores[best])
    if boxes is not None:
        found['box'] = boxes[best].astype(float).tolist()
        if not np.isfinite(boxes[best]).all():
            raise UserError(f'the predicted box {found["box"]} is not finite; has training diverged?')
    if masks is not None:
        found['mask'] = masks[best]
    return found


def _pred_mask(mask: np.ndarray | None, protocol: Protocol, size: tuple[int, int]) -> np.ndarray | None:
    if mask is None:
        return None
    if protocol.mask_field != 'input_masks' and mask.shape != size:
        raise UserError(
            f'the predicted mask is {list(mask.shape)}, but the image is {list(size)} (height, width); '
            'predictions must be in original pixels'
        )
    if protocol.mask_field == 'mask_probs':
        return mask > protocol.mask_threshold
    if mask.dtype.kind == 'f':
        raise UserError(
            f'pred_instances.{protocol.mask_field} must be bool, not {mask.dtype}: apply a threshold in the model'
        )
    return mask.astype(bool)


def _to_numpy(field: Any) -> np.ndarray | None:
    if field is None:
        return None
    if hasattr(field, 'detach'):
        field = field.detach().cpu()
        # NumPy has no bfloat16.
        field = field.float() if field.is_floating_point() else field
    return np.asarray(field)


def _name(sample: Mapping[str, Any]) -> str:
    return f'expression {sample.get("sent_id")} of {sample.get("dataset")}/{sample.get("split")}'

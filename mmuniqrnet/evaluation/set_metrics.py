"""The metrics of one evaluation set, in per cent, from the records of its expressions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmuniqrnet.structures.overlap import ratio
from mmuniqrnet.utils.errors import UserError

from .calibration import auroc, expected_calibration_error
from .protocols import PR_NAMES, PR_THRESHOLDS, Protocol, get_protocol

COUNTS = ('N', 'N_box', 'N_mask')


def compute_set_metrics(
    records: Sequence[Mapping[str, Any]], protocol: Protocol | None = None
) -> dict[str, float | int]:
    """The metrics of one evaluation set, from the records of ``score_expression``, one for each expression.

    All in per cent, except the counts:

    - ``N``: number of expressions; ``N_box``, ``N_mask``: number of those whose box or mask could be scored.
    - ``Acc@0.5``: box IoU >= 0.5. ``box_mIoU``: mean box IoU.
    - ``oIoU``: sum of intersections over sum of unions, in pixels. ``mIoU``: mean of the mask IoUs. An empty mask
      for an expression without a target has IoU 1 in mIoU and adds nothing to either sum of oIoU.
    - ``Pr@X``: mask IoU >= X, over the expressions that have a target.
    - ``agreement``: box IoU >= 0.5 and mask IoU >= 0.5 are both true or both false, over expressions with both IoUs.
    - ``box_mask_IoU``: mean IoU of the predicted box with the tight box of the predicted mask (1 if neither exists).
    - If some expressions have no target (gRefCOCO): ``N-acc``: share of them that are refused; ``T-acc``: share of the
      others that are not; ``gIoU`` and ``cIoU``, the names that gRefCOCO uses for mIoU and oIoU over all expressions.
    - If scores differ (without a score branch they are all 1), and independent of ``refuse_below``: ``ECE``: expected
      calibration error of the score against the IoU of the prediction before refusal (of the box, or of the mask if
      the model gives no box; 0 without a target); ``AUROC``: probability that an expression with a target has a higher
      score than one without, if the set has both. See calibration.py.

    A metric that no expression contributes to is left out; it is never 0. Published protocols differ; see protocols.py.
    """
    protocol = protocol or get_protocol('original')
    if protocol.first_sentence_only:
        records = _first_sentences(records)
    found: dict[str, float | int] = {'N': len(records)}
    boxes = [record for record in records if record['box_iou'] is not None]
    masks = [record for record in records if record['mask_iou'] is not None]
    if boxes:
        found['N_box'] = len(boxes)
        found['Acc@0.5'] = _share(boxes, [record['box_iou'] >= 0.5 for record in boxes], protocol)
        found['box_mIoU'] = _mean(record['box_iou'] for record in boxes)
    if masks:
        found['N_mask'] = len(masks)
        found['oIoU'] = 100 * ratio(
            sum(record['mask_intersection'] for record in masks),
            sum(record['mask_union'] for record in masks),
            empty=protocol.empty_iou,
        )
        found['mIoU'] = _mean(record['mask_iou'] for record in masks)
        found.update(_precision([r for r in masks if r['targets'] or protocol.metrics is not None], protocol))
    both = [record for record in boxes if record['mask_iou'] is not None]
    if both:
        found['agreement'] = _mean((r['box_iou'] >= 0.5) == (r['mask_iou'] >= 0.5) for r in both)
    pairs = [record['box_mask_iou'] for record in records if record['box_mask_iou'] is not None]
    if pairs:
        found['box_mask_IoU'] = _mean(pairs)
    if any(record['targets'] == 0 for record in records):
        found.update(_no_target(records, found))
    found.update(_of_scores([record for record in records if record['score'] is not None]))
    if protocol.metrics is None:
        return found
    return {name: found[name] for name in (*COUNTS, *protocol.metrics) if name in found}


def mean_metrics(by_set: Sequence[Mapping[str, float | int]]) -> dict[str, float]:
    """The unweighted mean over evaluation sets of each metric that all of them have, without the counts."""
    if not by_set:
        return {}
    shared = [name for name in by_set[0] if name not in COUNTS and all(name in found for found in by_set)]
    return {name: float(np.mean([found[name] for found in by_set])) for name in shared}


def _precision(masks: Sequence[Mapping[str, Any]], protocol: Protocol) -> dict[str, float]:
    if not masks:
        return {}
    iou = np.array([record['mask_iou'] for record in masks])
    return {
        name: _share(masks, iou >= threshold if protocol.pr_inclusive else iou > threshold, protocol)
        for name, threshold in zip(PR_NAMES, PR_THRESHOLDS)
    }


def _no_target(records: Sequence[Mapping[str, Any]], found: Mapping[str, float]) -> dict[str, float]:
    there = [not record['refused'] for record in records if record['targets']]
    absent = [record['refused'] for record in records if not record['targets']]
    result = {'N-acc': _mean(absent)}
    if there:
        result['T-acc'] = _mean(there)
    if 'mIoU' in found:
        result.update(gIoU=found['mIoU'], cIoU=found['oIoU'])
    return result


def _of_scores(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    if len({record['score'] for record in records}) < 2:
        return {}
    result = {}
    there, absent = ([r['score'] for r in records if bool(r['targets']) == some] for some in (True, False))
    if there and absent:
        result['AUROC'] = 100 * auroc(there, absent)
    # Results files of the first versions do not have 'quality'.
    pairs = [(record['score'], record['quality']) for record in records if record.get('quality') is not None]
    if pairs:
        result['ECE'] = 100 * expected_calibration_error(
            [score for score, _ in pairs], [quality for _, quality in pairs]
        )
    return result


def _mean(values: Iterable[float]) -> float:
    return float(100 * np.mean(list(values)))


def _share(records: Sequence[Mapping[str, Any]], hits: Sequence[bool], protocol: Protocol) -> float:
    if not protocol.batch_means:
        return _mean(hits)
    batches: dict[tuple, list[bool]] = {}
    for record, hit in zip(records, hits):
        batches.setdefault(tuple(record['batch']), []).append(hit)
    return _mean(np.mean(batch) for batch in batches.values())


def _first_sentences(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    first: dict[Any, Mapping[str, Any]] = {}
    for record in records:
        if record['ref_id'] is None:
            raise UserError(
                f'expression {record["sent_id"]} has no ref_id, by which this protocol finds the first '
                'sentence of each ref; add it to the meta_keys of the transform that packs the sample'
            )
        kept = first.setdefault(record['ref_id'], record)
        if record['sent_id'] < kept['sent_id']:
            first[record['ref_id']] = record
    return list(first.values())

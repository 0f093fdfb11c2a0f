"""Which metrics an evaluation will have, known from the data and the model before anything is predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .protocols import Protocol
from .set_metrics import compute_set_metrics


@dataclass(frozen=True)
class Predicts:
    """What the answers of a model contain: boxes, masks, and scores that differ (those of a score branch)."""

    boxes: bool = True
    masks: bool = True
    scores: bool = True


@dataclass(frozen=True)
class Kind:
    """What matters of an expression: how many objects it has (two stands for more), and what is known of them."""

    targets: int
    has_box: bool
    has_mask: bool
    has_ref: bool

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> 'Kind':
        """The kind of an item of a data set, with ``instances`` and ``ref_id``."""
        instances = item['instances']
        return cls(
            targets=min(len(instances), 2),
            has_box=len(instances) == 1 and instances[0].get('bbox') is not None,
            has_mask=all(one.get('mask') is not None or 'mask_path' in one for one in instances),
            has_ref=item.get('ref_id') is not None,
        )


def expected_metrics(kinds: Sequence[Kind], predicts: Predicts, protocol: Protocol) -> list[str]:
    """The names of the metrics that an evaluation set will have.

    They are the keys that ``compute_set_metrics`` gives for records of these kinds, so that there is one rule only.
    ``AUROC`` and ``ECE`` are among them if the scores differ, as those of a trained score branch do.

    Args:
        kinds: The kind of each expression of the set; each different one is enough.
        predicts: What the model predicts.
        protocol: The protocol of the metric.
    """
    # Two of each kind, so that scores can differ within a kind.
    records = [_record(kind, predicts, protocol, number) for number, kind in enumerate([*kinds, *kinds])]
    return list(compute_set_metrics(records, protocol))


def _record(kind: Kind, predicts: Predicts, protocol: Protocol, number: int) -> dict[str, Any]:
    """As ``score_expression`` gives it, with values that stand for any."""
    box_iou = 0.5 if predicts.boxes and (kind.has_box or not kind.targets) else None
    mask_iou = 0.5 if predicts.masks and kind.has_mask else None
    quality = box_iou if predicts.boxes else mask_iou
    return dict(
        sent_id=number,
        ref_id=number if kind.has_ref else None,
        targets=kind.targets,
        refused=False,
        batch=(0, 0),
        box_iou=box_iou,
        mask_iou=mask_iou,
        mask_intersection=None if mask_iou is None else 1,
        mask_union=None if mask_iou is None else 2,
        box_mask_iou=0.5 if predicts.boxes and predicts.masks and protocol.metrics is None else None,
        quality=quality if kind.targets else 0.0,
        score=1 / (number + 1) if predicts.scores else 1.0,
    )

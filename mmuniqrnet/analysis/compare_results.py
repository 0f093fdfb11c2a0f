"""Compare two results files: differences with bootstrap intervals, and expressions that only one has right."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmuniqrnet.evaluation.results_file import read_results
from mmuniqrnet.utils.errors import UserError

#: Name of a metric -> the record's numerator and denominator, whose sums over expressions make it.
METRICS = ('Acc@0.5', 'box_mIoU', 'oIoU', 'mIoU', 'Pr@0.5')


class Difference(NamedTuple):
    """One metric of two systems, in per cent, and the interval of ``second - first``."""

    metric: str
    expressions: int
    first: float
    second: float
    low: float
    high: float


class Case(NamedTuple):
    """An expression that one system has right (IoU of at least 0.5) and the other wrong."""

    record: Mapping[str, Any]
    by: str
    first: float
    second: float


def read_pairs(first: str | Path, second: str | Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The records of two results files, in pairs of the same expression.

    Raises:
        UserError: The files are not of the same expressions or of different protocols.
    """
    tables = [{_key(record): record for record in read_results(path)} for path in (first, second)]
    one, other = tables
    for here, there, table, path in ((one, other, second, first), (other, one, first, second)):
        alone = [key for key in here if key not in there]
        if alone:
            raise UserError(
                f'{len(alone)} of {len(here)} expressions of {path} are not in {table}, such as '
                f'{"/".join(map(str, alone[0]))}: compare results of the same expressions.'
            )
    pairs = [(record, other[key]) for key, record in one.items()]
    if not pairs:
        raise UserError(f'{first} has no lines.')
    for a, b in pairs:
        if a['text'] != b['text'] or a['protocol'] != b['protocol']:
            raise UserError(
                f'expression {"/".join(map(str, _key(a)))} is {a["text"]!r} by protocol {a["protocol"]} in {first}, '
                f'but {b["text"]!r} by {b["protocol"]} in {second}: compare results of the same data and protocol.'
            )
    return pairs


def compare(
    pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Difference]:
    """The differences of all metrics that both files have, with percentile intervals of a paired bootstrap.

    Images are drawn, with replacement, and with an image all its expressions in both files: the expressions of one
    image are not independent. An expression counts for a metric if both records have it.

    Args:
        pairs: See :func:`read_pairs`.
        resamples: Number of samples drawn.
        confidence: Share of the samples' differences within the interval.
        seed: Of the random numbers.
    """
    images = {image: place for place, image in enumerate(dict.fromkeys(str(a['img_id']) for a, _ in pairs))}
    weights = np.random.default_rng(seed).multinomial(len(images), [1 / len(images)] * len(images), size=resamples)
    found = []
    for metric in METRICS:
        parts = [(images[str(a['img_id'])], _parts(a, metric), _parts(b, metric)) for a, b in pairs]
        both = [(image, one, other) for image, one, other in parts if one is not None and other is not None]
        if not both:
            continue
        sums = np.zeros((len(images), 4))
        for image, one, other in both:
            sums[image] += (*one, *other)
        drawn = weights @ sums
        # a sample without any expression of this metric, or without a pixel of a mask, says nothing
        usable = drawn[(drawn[:, 1] > 0) & (drawn[:, 3] > 0)]
        differences = 100 * (usable[:, 2] / usable[:, 3] - usable[:, 0] / usable[:, 1])
        tail = 100 * (1 - confidence) / 2
        low, high = np.percentile(differences, [tail, 100 - tail]) if len(differences) else (np.nan, np.nan)
        total = sums.sum(0)
        values = [100 * total[at] / total[at + 1] if total[at + 1] else 100.0 for at in (0, 2)]
        found.append(Difference(metric, len(both), *map(float, (*values, low, high))))
    return found


def deciding_cases(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[Case]:
    """The expressions that one system has right and the other wrong, the largest difference first.

    An answer is right if its box IoU is at least 0.5, or its mask IoU where the records have no box IoU.
    """
    cases = []
    for a, b in pairs:
        by = next((key for key in ('box_iou', 'mask_iou') if a[key] is not None and b[key] is not None), None)
        if by is not None and (a[by] >= 0.5) != (b[by] >= 0.5):
            cases.append(Case(a, by, float(a[by]), float(b[by])))
    return sorted(cases, key=lambda case: -abs(case.first - case.second))


def _parts(record: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
    """Numerator and denominator of an expression; None if it does not count for this metric."""
    box, mask = record['box_iou'], record['mask_iou']
    if metric in ('Acc@0.5', 'box_mIoU'):
        return None if box is None else (float(box >= 0.5 if metric == 'Acc@0.5' else box), 1.0)
    if mask is None or (metric == 'Pr@0.5' and not record['targets']):
        return None
    if metric == 'oIoU':
        return float(record['mask_intersection']), float(record['mask_union'])
    return float(mask >= 0.5 if metric == 'Pr@0.5' else mask), 1.0


def _key(record: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(record['dataset']), str(record['split']), str(record['sent_id'])

"""The metric of REC and RES for mmengine, per evaluation set, in original pixels, each expression once."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine import dist
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmuniqrnet.registry import METRICS
from mmuniqrnet.structures.answers import check_refuse_below
from mmuniqrnet.utils.errors import UserError

from .expression import score_expression
from .protocols import get_protocol
from .report import table_from_metrics, to_text
from .results_file import check_replaceable, results_path, write_results
from .set_metrics import compute_set_metrics, mean_metrics

# What stands for {dataset}/{split} in the names of means over all sets.
MEAN = 'mean'


@METRICS.register_module()
class ReferringMetric(BaseMetric):
    """Acc@0.5, oIoU, mIoU, Pr@X and the agreement of box and mask, per evaluation set.

    Data samples must carry the metainfo ``dataset, split, sent_id, img_id, text, ori_shape, instances`` (the truth, in
    original pixels; optionally ``ref_id`` and ``img_path``) and ``pred_instances`` with ``bboxes`` [n, 4]
    (xyxy) and / or ``masks`` [n, H, W] (bool), both in original pixels, and ``scores`` [n]. Keys are
    ``{dataset}/{split}/{metric}``, so one data loader may hold several sets. ``compute_set_metrics`` in set_metrics.py
    defines each metric; ``score_expression`` in expression.py defines what counts without a target, a box or a mask.

    An expression, identified by (dataset, split, sent_id), counts once, also if a distributed sampler repeats it.

    With ``mean_over_sets``, ``mean/{metric}`` is the unweighted mean of a metric over the evaluation sets, for metrics
    (not counts) that all sets have: what a training on several data sets chooses its best checkpoint by.

    Args:
        protocol: The evaluation protocol, a key of ``mmuniqrnet.evaluation.PROTOCOLS``. Metrics of a published protocol
            have its name in their keys (``refcoco/val/cris_mIoU``), so one run can compute them and ``original``.
        refuse_below: A prediction with a lower score counts as "there is no such object", without box and with an empty
            mask; None = the model never refuses. (ReLA's script keeps the pixels of a refused mask in the union of
            cIoU.)
        outfile_prefix: Results files are written to ``{outfile_prefix}_{dataset}_{split}.jsonl``, one line per
            expression. The file of an earlier evaluation is replaced; a file that this metric did not write is an
            error, raised in the first batch.
        mean_over_sets: Whether to give the means over the evaluation sets as well.
        collect_device: See mmengine's BaseMetric.
        collect_dir: See mmengine's BaseMetric.
        prefix: Prefix of all keys, needed only if two metrics would have the same keys.

    Raises:
        ValueError: The protocol is unknown, ``refuse_below`` is not a finite number, or it is given with a published
            protocol; none of these defines refusal.
    """

    # Not None, because BaseMetric would warn about a missing prefix; the keys are complete without one.
    default_prefix = ''

    def __init__(
        self,
        protocol: str = 'original',
        refuse_below: float | None = None,
        outfile_prefix: str | None = None,
        mean_over_sets: bool = False,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, collect_dir=collect_dir, prefix=prefix)
        self.protocol = get_protocol(protocol)
        if refuse_below is not None and protocol != 'original':
            raise UserError(f"refuse_below needs protocol='original': '{protocol}' does not define refusal")
        check_refuse_below(refuse_below, any_scale=True)
        self.refuse_below = refuse_below
        self.outfile_prefix = outfile_prefix
        self.mean_over_sets = mean_over_sets
        self._checked_files: set[tuple[str, str]] = set()
        self._batches = 0
        self._expected = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score the samples of a batch; keeps a few numbers each, and two RLE masks if ``outfile_prefix`` is set."""
        batch = (dist.get_rank(), self._batches)
        self._batches += 1
        for sample in data_samples:
            record = score_expression(
                sample, self.protocol, self.refuse_below, keep_masks=self.outfile_prefix is not None
            )
            self._check_file(record['dataset'], record['split'])
            self.results.append(dict(record, batch=batch))

    def evaluate(self, size: int) -> dict:
        """Gather from all ranks and compute; ``size`` is the number of items of the data set."""
        # BaseMetric cuts the gathered results to `size`, which removes the repeated ones only if the sampler
        # interleaves ranks and pads at the end. With the full count it cuts nothing; `drop_duplicates` removes them.
        gathered = torch.tensor(len(self.results))
        dist.all_reduce(gathered)
        self._expected = size
        metrics = super().evaluate(int(gathered))
        self._batches = 0
        return metrics

    def compute_metrics(self, results: list) -> dict[str, float | int]:
        """The metrics of each evaluation set; logs them as a table and writes the results files. Runs on rank 0."""
        unique = drop_duplicates(results)
        if len(unique) != self._expected:
            print_log(
                f'ReferringMetric: the data set has {self._expected} items, but {len(unique)} different expressions '
                'were scored; the metrics are of these',
                logger='current',
                level=logging.WARNING,
            )
        sets: dict[tuple[str, str], list[dict]] = {}
        for record in unique:
            sets.setdefault((record['dataset'], record['split']), []).append(record)
        metrics: dict[str, float | int] = {}
        by_set: list[dict[str, float | int]] = []
        label = '' if self.protocol.name == 'original' else f'{self.protocol.name}_'
        for (dataset, split), records in sets.items():
            if self.outfile_prefix is not None:
                path = results_path(self.outfile_prefix, dataset, split)
                write_results(path, records, self.protocol.name)
                print_log(f'ReferringMetric: results of {dataset}/{split} written to {path}', logger='current')
            found = compute_set_metrics(records, self.protocol)
            by_set.append(found)
            metrics.update({f'{dataset}/{split}/{label}{name}': value for name, value in found.items()})
        if self.mean_over_sets:
            metrics.update({f'{MEAN}/{label}{name}': value for name, value in mean_metrics(by_set).items()})
        if metrics:
            print_log(f'\n{to_text(table_from_metrics(metrics))}', logger='current')
        return metrics

    def _check_file(self, dataset: str, split: str) -> None:
        if self.outfile_prefix is None or (dataset, split) in self._checked_files:
            return
        check_replaceable(results_path(self.outfile_prefix, dataset, split))
        self._checked_files.add((dataset, split))


def drop_duplicates(records: Sequence[dict]) -> list[dict]:
    """The first record of each (dataset, split, sent_id).

    Raises:
        ValueError: Two different expressions have the same key, so one of them would be lost.
    """
    first: dict[tuple, dict] = {}
    for record in records:
        kept = first.setdefault((record['dataset'], record['split'], record['sent_id']), record)
        if (kept['img_id'], kept['text']) != (record['img_id'], record['text']):
            raise UserError(
                f'two expressions of {record["dataset"]}/{record["split"]} have sent_id {record["sent_id"]}: '
                f"'{kept['text']}' on image {kept['img_id']} and '{record['text']}' on image {record['img_id']}; give "
                'each expression its own sent_id'
            )
    return list(first.values())

"""Adapters with which metrics of mmdet and mmseg evaluate referring expressions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from mmuniqrnet.registry import METRICS
from mmuniqrnet.structures.answers import best_index
from mmuniqrnet.structures.rle import run_lengths
from mmuniqrnet.structures.truth import truth_mask
from mmuniqrnet.utils.errors import UserError


class _Adapter(BaseMetric):
    """Passes adapted data samples to another metric and returns its results.

    That metric does not distinguish evaluation sets: all expressions of a data loader are counted together, so use one
    split per data loader.

    Args:
        metric: Config of the other metric, such as ``dict(type='mmdet.CocoMetric')``, or the metric.
    """

    default_prefix = ''

    def __init__(self, metric: dict | BaseMetric) -> None:
        super().__init__()
        self.metric = METRICS.build(metric) if isinstance(metric, dict) else metric

    def adapt(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the sample (``to_dict()`` of it) as the other metric reads it."""
        raise NotImplementedError

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        self.metric.process(data_batch, [self.adapt(sample) for sample in data_samples])

    def evaluate(self, size: int) -> dict:
        return self.metric.evaluate(size)

    def compute_metrics(self, results: list) -> dict:
        return self.metric.compute_metrics(results)


@METRICS.register_module()
class DetectionMetric(_Adapter):
    """A detection metric, such as ``mmdet.CocoMetric``, on the boxes and masks of class "referent".

    Such metrics match predictions and truth by image, so several expressions for one image would count as several
    objects. Here every expression counts as an image: its ``img_id`` is ``{dataset}/{split}/{sent_id}``.
    """

    @property
    def dataset_meta(self) -> dict | None:
        return self.metric.dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self.metric.dataset_meta = dataset_meta

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        # CocoMetric passes RLE to pycocotools, which decodes runs that do not fill the mask without a word.
        for sample in data_samples:
            for instance in sample['instances']:
                if isinstance(instance.get('mask'), dict):
                    try:
                        run_lengths(instance['mask'])
                    except UserError as error:
                        raise UserError(f'{_name(sample)}: {error}.') from None
        super().process(data_batch, data_samples)

    def adapt(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        if any(instance.get('bbox') is None for instance in sample['instances']):
            raise UserError(f'{_name(sample)} has no box in its truth, which detection metrics need.')
        # CocoMetric converts the counts of RLE from bytes to str in place; copies keep the truth unchanged.
        instances = [
            dict(i, mask=dict(i['mask'])) if isinstance(i.get('mask'), dict) else i for i in sample['instances']
        ]
        return dict(sample, instances=instances, img_id=_name(sample))


@METRICS.register_module()
class SegmentationMetric(_Adapter):
    """A semantic segmentation metric, such as ``mmseg.IoUMetric``, on classes "background" and "referent".

    The mask with the highest score is the prediction ``pred_sem_seg``, the union of the truth's masks ``gt_sem_seg``.
    IoUMetric's IoU of class "referent" is then oIoU; its mIoU is the mean of the two *classes*, not ReferringMetric's
    mIoU.
    """

    @property
    def dataset_meta(self) -> dict:
        return dict(classes=('background', 'referent'), palette=[[0, 0, 0], [0, 175, 80]])

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict | None) -> None:
        self.metric.dataset_meta = self.dataset_meta

    def adapt(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        truth = truth_mask(sample['instances'], *sample['ori_shape'][:2])
        if truth is None or 'masks' not in sample['pred_instances']:
            raise UserError(
                f'{_name(sample)} has no mask in its {"truth" if truth is None else "prediction"}, which '
                'segmentation metrics need.'
            )
        found = sample['pred_instances']
        masks = found['masks']
        if len(masks) == 0:  # nothing found
            mask = torch.zeros(truth.shape, dtype=torch.uint8)
        else:
            mask = torch.as_tensor(masks[best_index(found.get('scores'))]).to(torch.uint8)
        return dict(
            sample,
            pred_sem_seg=dict(data=mask[None]),
            gt_sem_seg=dict(data=torch.from_numpy(truth.astype('uint8'))[None]),
        )


def _name(sample: Mapping[str, Any]) -> str:
    return f'{sample["dataset"]}/{sample["split"]}/{sample["sent_id"]}'

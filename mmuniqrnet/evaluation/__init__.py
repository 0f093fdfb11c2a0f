"""Evaluation: the metric, published protocols, results files, reports and calibration of the score."""

from mmuniqrnet.utils.deprecation import moved_names

from .calibration import Threshold, at_threshold, best_threshold
from .other_metrics import DetectionMetric, SegmentationMetric
from .protocols import PROTOCOLS, Protocol, get_protocol
from .referring_metric import ReferringMetric
from .report import table_from_metrics, to_json, to_markdown, to_text, write_report
from .results_file import metrics_from_file, read_results
from .set_metrics import compute_set_metrics

__all__ = [
    'PROTOCOLS',
    'DetectionMetric',
    'Protocol',
    'ReferringMetric',
    'SegmentationMetric',
    'Threshold',
    'at_threshold',
    'best_threshold',
    'compute_set_metrics',
    'get_protocol',
    'metrics_from_file',
    'read_results',
    'table_from_metrics',
    'to_json',
    'to_markdown',
    'to_text',
    'write_report',
]

__getattr__ = moved_names(
    __name__,
    {
        'figures': 'mmuniqrnet.evaluation:compute_set_metrics',
        'figures_from_file': 'mmuniqrnet.evaluation:metrics_from_file',
    },
)

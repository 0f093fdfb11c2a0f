"""How predictions are counted: the metric, the published protocols, reports and the worst cases."""

from .calibration import Threshold, at_threshold, best_threshold
from .other_metrics import DetectionMetric, SegmentationMetric
from .protocols import PROTOCOLS, Protocol, get_protocol
from .referring_metric import ReferringMetric
from .report import table_from_metrics, to_json, to_markdown, to_text, write_report
from .results_file import figures_from_file, read_results
from .set_metrics import figures

__all__ = [
    'PROTOCOLS',
    'DetectionMetric',
    'Protocol',
    'ReferringMetric',
    'SegmentationMetric',
    'Threshold',
    'at_threshold',
    'best_threshold',
    'figures',
    'figures_from_file',
    'get_protocol',
    'read_results',
    'table_from_metrics',
    'to_json',
    'to_markdown',
    'to_text',
    'write_report',
]

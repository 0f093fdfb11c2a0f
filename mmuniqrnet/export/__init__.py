"""A trained network for other runtimes: ONNX and torch.export, and a predictor that needs neither torch nor mm*."""

from .exporting import export
from .predictor import OnnxPredictor

__all__ = ['OnnxPredictor', 'export']

"""Export of a trained network: ONNX, torch.export, and a predictor that needs neither torch nor an mm* package."""

from .exporting import export
from .predictor import OnnxPredictor

__all__ = ['OnnxPredictor', 'export']

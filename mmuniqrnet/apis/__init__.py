"""Asking a trained network: images and expressions in, boxes and masks out."""

from .inferencer import UniQRNetInferencer
from .shipped import shipped_weights

__all__ = ['UniQRNetInferencer', 'shipped_weights']

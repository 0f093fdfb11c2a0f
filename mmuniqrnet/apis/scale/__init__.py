"""Inference on very many images and expressions with Ray."""

from .inferencer import RayInferencer

__all__ = ['RayInferencer']

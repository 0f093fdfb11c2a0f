"""Answering very many images and expressions on Ray."""

from .inferencer import RayInferencer

__all__ = ['RayInferencer']

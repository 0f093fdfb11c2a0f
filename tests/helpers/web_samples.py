"""Weights and answers for the tests of the web page."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from pycocotools import mask as coco_mask

from mmuniqrnet.models.layers import DynamicLinear
from mmuniqrnet.registry import MODELS

from .paths import NANO_CONFIG


def make_weights(path: Path, **gates: bool) -> Path:
    """A checkpoint of the nano model with random weights, its gates as after training, far from all open."""
    cfg = Config.fromfile(NANO_CONFIG)
    cfg.model.backbone.update(gates)
    cfg.model.neck.update(gates)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmuniqrnet'):
        model = MODELS.build(cfg.model)
    for layer in model.modules():
        if isinstance(layer, DynamicLinear):
            torch.nn.init.normal_(layer.V, std=0.3)
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict()), path)
    return path


def answer(expression: str, box: list[float], score: float, mask: np.ndarray, **changes) -> dict:
    """As the inferencer gives it; ``mask`` is bool [H, W]."""
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    rle['counts'] = rle['counts'].decode('ascii')
    return (
        dict(
            image=0,
            image_index=0,
            expression=expression,
            size=list(mask.shape),
            box=box,
            score=score,
            refused=False,
            mask=rle,
        )
        | changes
    )


def refused(expression: str, score: float, **changes) -> dict:
    return (
        dict(image=0, image_index=0, expression=expression, size=[9, 9], box=None, score=score, refused=True, mask=None)
        | changes
    )


def rectangle(height: int, width: int, x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask

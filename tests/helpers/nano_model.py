"""The nano model with weights at random, as a checkpoint, and scenes to ask it about."""

import copy
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from mmuniqrnet.checkpoints.carried_config import inference_config
from mmuniqrnet.checkpoints.file_io import write_checkpoint
from mmuniqrnet.datasets.refshapes.writer import draw_scene
from mmuniqrnet.models.layers import DynamicLinear
from mmuniqrnet.registry import MODELS

from .paths import NANO_CONFIG


def nano_config(**model) -> Config:
    """The config with other parts of the model."""
    cfg = Config.fromfile(NANO_CONFIG)
    for part, config in model.items():
        cfg.model[part] = copy.deepcopy(config)
    return cfg


def nano_checkpoint(path: Path, cfg: Config | None = None) -> Path:
    """Weights at random that look at the text, and answer with masks that are neither empty nor full."""
    cfg = nano_config() if cfg is None else cfg
    torch.manual_seed(7)  # with other seeds some masks are empty or full
    model = MODELS.build(cfg.model)
    for part in model.modules():
        if isinstance(part, DynamicLinear):  # V is zero as built, and the gates would not open
            torch.nn.init.normal_(part.V, std=0.3)
    state = {
        name: value * 3 if name.startswith(('head.mask_branch', 'head.encoder')) else value
        for name, value in model.state_dict().items()
    }
    write_checkpoint(dict(meta=dict(config=inference_config(cfg).pretty_text), state_dict=state), path)
    return path


def scene(seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """A scene of RefShapes, RGB, and an expression for each thing in it."""
    picture, _, described = draw_scene(seed, 'val', 0)
    return np.ascontiguousarray(picture[..., ::-1]), [one.raw for expressions in described for one in expressions]

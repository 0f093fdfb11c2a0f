"""What the tests of exports share: a config at reduced size, its network, and which packages are missing."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.utils import digit_version

from mmuniqrnet.config import load_config
from mmuniqrnet.export.writing import OLDEST_TORCH
from mmuniqrnet.models import BoxRefiner
from mmuniqrnet.models.layers import DynamicLinear
from mmuniqrnet.registry import MODELS

from .config_samples import reduce
from .paths import ROOT

MISSING = [name for name in ('onnx', 'onnxruntime', 'onnxscript') if find_spec(name) is None]
OLD = digit_version(torch.__version__) < digit_version(OLDEST_TORCH)
needs_exporter = pytest.mark.skipif(
    bool(MISSING) or OLD, reason=f"needs the extra 'export' ({', '.join(MISSING)}) and torch {OLDEST_TORCH}"
)


CANVAS = 64


def small_config(name: str = 'uniqrnet_swin-s_refcoco') -> Config:
    """A config of full size made narrow, on 64 pixels: 16, 8, 4 and 2 tokens a side, none a multiple of window 7."""
    cfg = reduce(load_config(str(ROOT / 'configs' / f'{name}.py')), Path('nowhere'))
    cfg.model.backbone.depths = (2, 1, 1, 1)  # the second block of a stage shifts its windows
    return cfg


def build(cfg: Config) -> torch.nn.Module:
    """Its model with random weights, ready to answer; the text matters, as after training."""
    torch.manual_seed(4)  # with other seeds some masks are empty or full
    with DefaultScope.overwrite_default_scope('mmuniqrnet'):
        model = MODELS.build(cfg.model).eval()
    for layer in model.modules():
        if isinstance(layer, DynamicLinear):
            torch.nn.init.normal_(layer.V, std=0.3)
        if isinstance(layer, BoxRefiner):
            torch.nn.init.normal_(layer.mlp.layers[-1].weight, std=0.1)
    return model


def save(model: torch.nn.Module, path: Path) -> Path:
    torch.save(dict(meta={}, state_dict=model.state_dict()), path)
    return path

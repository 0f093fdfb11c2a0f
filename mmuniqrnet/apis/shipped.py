"""Finding an inferencer's config and weights; by default those shipped with the package."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmuniqrnet.checkpoints import read_checkpoint
from mmuniqrnet.checkpoints.carried_config import config_of, inference_config
from mmuniqrnet.config import load_config
from mmuniqrnet.utils.errors import UserError

SHIPPED = 'uniqrnet_swin-nano_refshapes.safetensors'


def shipped_weights() -> Path:
    """The small model that comes with the package, trained on RefShapes.

    Raises:
        UserError: If its file is missing.
    """
    path = Path(str(files('mmuniqrnet') / 'weights' / SHIPPED))
    if not path.is_file():
        raise UserError(
            f'the shipped weights are missing ({path}): install the package again, or name weights of your own.'
        )
    return path


def config_and_checkpoint(
    model: str | Path | Config | Mapping[str, Any] | None, weights: str | Path | None
) -> tuple[Config, dict[str, Any], str]:
    """The parts of the config that inference needs, the checkpoint, and the checkpoint's name.

    Args:
        model: A config or its file; None = the one that the weights contain.
        weights: A checkpoint; None = the shipped one, if ``model`` is None, too.

    Raises:
        UserError: If one of them can't be read, a config is given without weights, or the weights contain no config.
    """
    if weights is None:
        if model is not None:
            raise UserError('a model without weights gives random answers; name the checkpoint, too.')
        weights = shipped_weights()
    checkpoint = read_checkpoint(weights)
    if model is None:
        model = config_of(checkpoint, weights)
        if model is None:
            raise UserError(f'{weights} does not contain its config; name the config, too.')
    elif isinstance(model, str | Path):
        model = load_config(str(model))
    return inference_config(model), checkpoint, str(weights)

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
from mmuniqrnet.utils.shipped import PHOTOS, SHIPPED


def shipped_weights(name: str) -> Path:
    """The file of a small model that comes with the package.

    Args:
        name: ``'photos'``, trained on photographs, or ``'shapes'``, trained on RefShapes.

    Raises:
        UserError: If there is no such model, or its file is missing.
    """
    if name not in SHIPPED:
        raise UserError(f'there are no shipped weights {name!r}; name one of {", ".join(SHIPPED)}.')
    path = Path(str(files('mmuniqrnet') / 'weights' / SHIPPED[name]))
    if not path.is_file():
        raise UserError(
            f'the shipped weights are missing ({path}): install the package again, or name weights of your own.'
        )
    return path


def weights_file(weights: str | Path) -> str | Path:
    """``weights``, or the file of a shipped model if it is the name of one.

    Raises:
        UserError: It is a plain word that is neither, such as ``'photo'``.
    """
    if not isinstance(weights, str):
        return weights
    if weights in SHIPPED:
        return shipped_weights(weights)
    if weights.isidentifier() and not Path(weights).exists():
        raise UserError(
            f'there is no checkpoint {weights}, and no shipped weights of this name: those are {", ".join(SHIPPED)}.'
        )
    return weights


def config_and_checkpoint(
    model: str | Path | Config | Mapping[str, Any] | None, weights: str | Path | None
) -> tuple[Config, dict[str, Any], str]:
    """The parts of the config that inference needs, the checkpoint, and the checkpoint's name.

    Args:
        model: A config or its file; None = the one that the weights contain.
        weights: A checkpoint, or the name of a shipped one; None = ``'photos'``, if ``model`` is None, too.

    Raises:
        UserError: If one of them can't be read, a config is given without weights, or the weights contain no config.
    """
    if weights is None:
        if model is not None:
            raise UserError('a model without weights gives random answers; name the checkpoint, too.')
        weights = PHOTOS
    checkpoint = read_checkpoint(weights_file(weights))
    if model is None:
        model = config_of(checkpoint, weights)
        if model is None:
            raise UserError(f'{weights} does not contain its config; name the config, too.')
    elif isinstance(model, str | Path):
        model = load_config(str(model))
    return inference_config(model), checkpoint, str(weights)

"""Functions that are shared by the parts that transformers builds."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import transformers
from mmengine.utils import digit_version
from transformers import AutoConfig, PretrainedConfig

from mmuniqrnet.utils.errors import UserError

# The name of from_pretrained's argument; transformers 5 warns if it is called by its old name.
DTYPE = 'dtype' if digit_version(transformers.__version__) >= digit_version('4.56') else 'torch_dtype'


def config_of(settings: Mapping[str, Any], owner: str) -> PretrainedConfig:
    """A configuration from ``model_type`` and its arguments.

    Args:
        settings: The arguments.
        owner: The class that they are given to, for messages.

    Raises:
        UserError: If there is no such ``model_type``, or it has no such argument.
    """
    settings = dict(settings)
    model_type = settings.pop('model_type')
    try:
        default = AutoConfig.for_model(model_type)
    except ValueError:
        raise UserError(f'{owner}: transformers knows no model_type {model_type!r}.') from None
    require_settings(default, settings, owner)
    return AutoConfig.for_model(model_type, **settings)


def require_settings(config: PretrainedConfig, names: Iterable[str], owner: str) -> None:
    """Refuse names that a configuration does not have; transformers keeps any, as attributes that nothing reads.

    Raises:
        UserError: For the first such name.
    """
    unknown = [name for name in names if not hasattr(config, name)]
    if unknown:
        near = get_close_matches(unknown[0], config.to_dict(), n=1)
        raise UserError(
            f'{owner}: the configuration of model_type {config.model_type!r} has no {", ".join(unknown)}'
            + (f'; did you mean {near[0]}?' if near else '.')
        )

"""The configuration of a text encoder in place of the folder or name that its training started from."""

from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from transformers import AutoConfig

# What transformers writes about a file, not about a network.
ABOUT_FILES = ('architectures', 'dtype', 'torch_dtype', 'transformers_version', 'model_type')


def with_text_settings(cfg: Config) -> Config:
    """A config whose ``TextEncoder`` is built from its settings, since its weights come with the checkpoint.

    Otherwise whoever asks the network would need the folder, or download the weights from which the training started.
    The tokenizer is still read from there, unless it is one of the package. Where the settings can not be read, as
    offline, the name is kept.
    """
    encoder = cfg.model.get('text_encoder') or {}
    name = encoder.get('model', 'bert-base-uncased')
    if str(encoder.get('type', '')).rpartition('.')[2] != 'TextEncoder' or not isinstance(name, str):
        return cfg
    try:
        settings = settings_of(name)
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print_log(f'the config still names the text encoder {name!r}, which was not found ({reason})', 'current')
        return cfg
    encoder['model'] = settings
    encoder.setdefault('tokenizer', None)
    encoder['tokenizer'] = encoder['tokenizer'] or name
    return cfg


def settings_of(name: str) -> dict[str, Any]:
    """``model_type`` and those arguments of a model's configuration that are not the default, from a name or folder.

    Raises:
        OSError, ValueError: transformers finds no configuration there.
    """
    config = AutoConfig.from_pretrained(name)
    default = AutoConfig.for_model(config.model_type).to_dict()
    given = {key: value for key, value in config.to_dict().items() if key in default and value != default[key]}
    return dict(
        model_type=config.model_type,
        **{key: value for key, value in given.items() if key not in ABOUT_FILES and not key.startswith('_')},
    )

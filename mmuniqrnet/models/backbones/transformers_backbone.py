from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoBackbone, AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING

from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of
from mmuniqrnet.models.hugging_face import DTYPE, config_of, require_settings
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError, first_line

from .library_backbone import LibraryBackbone
from .seams.find import owner_of_forward
from .seams.probe import SIDE
from .seams.transformers import SEAMS

# Norms of the maps, which a classifier does not have.
NEW = 'hidden_states_norms.'
# A plain ViT has one stage per block, and a pyramid not more than five.
MOST_STAGES = 5


@MODELS.register_module()
class TransformersBackbone(LibraryBackbone):
    """A backbone of transformers (``AutoBackbone``): Swin, ConvNeXt, DINOv2 and others.

    It does not depend on the text; :class:`QueryModulated` makes it. Images whose sides are no multiples of the patch
    are padded with zeros at the bottom and at the right, so that no pixel is left out. The data preprocessor's mean and
    standard deviation should be those that the weights were trained with.

    Args:
        model: A Hugging Face name or a local folder, whose weights are loaded; or a dict with ``model_type`` and the
            arguments of that model's configuration, built with random weights or those of ``checkpoint``.
        out_features: The names of the stages whose maps are returned, such as ``('stage1', 'stage2')``; by default all
            of them. A plain ViT, each of whose blocks is a stage, needs them.
        checkpoint: With a dict as ``model``, a file of weights, as transformers saves them.
        settings: With a name or folder as ``model``, arguments of the configuration that replace the stored ones, such
            as ``dict(drop_path_rate=0.2)``.
        frozen_stages: The number of first stages that are not trained, together with the embedding of patches; -1
            trains all. Of a plain ViT, a stage ends at each of ``out_features``.
        init_cfg: mmengine initialisation, after the above.

    The weights are float32, also where the files have another type. ``loaded_at_build`` has the names of the parameters
    that were loaded. A parameter on which no map depends is not trained.

    Raises:
        UserError: If there is no such model, the weights do not fit, or an argument is wrong.
    """

    def __init__(
        self,
        model: str | dict,
        out_features: Sequence[str] | None = None,
        checkpoint: str | None = None,
        settings: dict | None = None,
        frozen_stages: int = -1,
        init_cfg: dict | None = None,
    ) -> None:
        if isinstance(model, str) and checkpoint is not None:
            raise UserError(
                f'TransformersBackbone: the weights come from model={model!r}; checkpoint is for a model given as dict.'
            )
        if isinstance(model, dict) and settings is not None:
            raise UserError('TransformersBackbone: settings are for a model given by name; write them into the dict.')
        if isinstance(model, dict) and 'model_type' not in model:
            raise UserError("TransformersBackbone: model=dict(...) needs a model_type, such as 'convnext'.")
        config = config_of(model, 'TransformersBackbone') if isinstance(model, dict) else read_config(model)
        if settings:
            require_settings(config, settings, 'TransformersBackbone')
            for name, value in settings.items():
                setattr(config, name, value)
        self._set_out_features(config, out_features)
        loaded: set[str] = set()
        if isinstance(model, dict) and checkpoint is None:
            built = AutoBackbone.from_config(config)
        else:
            built, loaded = load(config, model if isinstance(model, str) else None, checkpoint)
        kind = SEAMS.get(owner_of_forward(built))
        super().__init__(built, loaded, None if kind is None else kind(), frozen_stages, init_cfg)
        self.patch_size: int | None = (
            config.patch_size if isinstance(getattr(config, 'patch_size', None), int) else None
        )
        self.probe_size = self._probe_size(config)
        self._freeze()

    @staticmethod
    def _set_out_features(config: PretrainedConfig, out_features: Sequence[str] | None) -> None:
        stages = [name for name in getattr(config, 'stage_names', None) or [] if name != 'stem']
        if not stages or type(config) not in MODEL_FOR_BACKBONE_MAPPING:
            raise UserError(
                f'TransformersBackbone: transformers has no backbone for model_type {config.model_type!r} '
                '(AutoBackbone); its documentation lists those that it has.'
            )
        if out_features is None and len(stages) > MOST_STAGES:
            raise UserError(
                f'TransformersBackbone: name the stages of {config.model_type} whose maps are to be returned, such as '
                f'out_features={tuple(stages[len(stages) // 4 - 1 :: len(stages) // 4])}; it has {stages[0]} to '
                f'{stages[-1]}.'
            )
        chosen = list(stages if out_features is None else out_features)
        if not chosen or chosen != [name for name in stages if name in chosen]:
            raise UserError(
                f'TransformersBackbone: out_features must name some of the stages {stages[0]} to {stages[-1]} of '
                f'{config.model_type}, in this order, not {out_features!r}.'
            )
        config.out_features = chosen

    @property
    def out_features(self) -> list[str]:
        """The names of the stages whose maps are returned."""
        return self.model.out_features

    def _probe_size(self, config: PretrainedConfig) -> tuple[int, int]:
        """Of 64 pixels where the size of the image does not matter, else that of the configuration."""
        fixed = not hasattr(self, 'seam') or getattr(config, 'use_absolute_embeddings', False)
        size = getattr(config, 'image_size', SIDE) if fixed else SIDE
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return self._padded(height), self._padded(width)

    def _padded(self, length: int) -> int:
        return length if self.patch_size is None else -(-length // self.patch_size) * self.patch_size

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images [B, 3, H, W] -> one map [B, C_i, H_i, W_i] per stage of ``out_features``."""
        return tuple(self.model(self.pad(images)).feature_maps)

    def pad(self, images: Tensor) -> Tensor:
        """Pad images [B, 3, H, W] at the bottom and at the right to whole patches."""
        height, width = images.shape[-2:]
        bottom, right = self._padded(height) - height, self._padded(width) - width
        return F.pad(images, (0, right, 0, bottom)) if bottom or right else images


def read_config(name: str) -> PretrainedConfig:
    """The configuration of a model by Hugging Face name or local folder."""
    try:
        return AutoConfig.from_pretrained(name)
    except Exception as error:  # transformers raises a dozen types if there is none
        raise UserError(not_found(name, error)) from None


def load(config: PretrainedConfig, name: str | None, checkpoint: str | None) -> tuple[PreTrainedModel, set[str]]:
    """A backbone with the weights of a name or folder, or of a file, and the names of its parameters that they have."""
    # AutoBackbone itself looks a folder up on the hub, and takes it for a name of timm.
    kind = MODEL_FOR_BACKBONE_MAPPING[type(config)]
    options: dict[str, Any] = dict(config=config, output_loading_info=True, **{DTYPE: torch.float32})
    origin = name if checkpoint is None else checkpoint
    if checkpoint is not None:
        options['state_dict'] = state_dict_of(read_checkpoint(checkpoint), checkpoint)
    try:
        model, info = kind.from_pretrained(name, **options)
    except Exception as error:
        if name is None:
            raise UserError(f'TransformersBackbone: {origin} does not fit: {first_line(error)}') from None
        raise UserError(not_found(name, error)) from None
    # transformers 4 puts the prefix of the file's names before those of the backbone.
    names = model.state_dict().keys()
    missing = {key if key in names else key.removeprefix(f'{kind.base_model_prefix}.') for key in info['missing_keys']}
    wrong = sorted(key for key in missing if not key.startswith(NEW))
    if wrong:
        raise UserError(
            f'TransformersBackbone: {origin} does not fit {kind.__name__}: {wrong[0]} is not in it'
            + (f', nor are {len(wrong) - 1} others.' if len(wrong) > 1 else '.')
        )
    return model, {key for key, _ in model.named_parameters()} - missing


def not_found(name: str, error: Exception) -> str:
    reason = first_line(error).rstrip('.')
    return (
        f'TransformersBackbone: {name!r} was not loaded: it is neither a folder with a Hugging Face model nor one that '
        f'the Hugging Face hub or its cache gave ({reason}). Give a folder (model=FOLDER), or a name while online.'
    )

from collections.abc import Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError, first_line

from .library_backbone import LibraryBackbone
from .seams.probe import SIDE
from .seams.timm import FeatureListSeam

LOCAL = 'local-dir:'


@MODELS.register_module()
class TimmBackbone(LibraryBackbone):
    """A network of timm as a backbone (``features_only``); needs the package's extra ``timm``.

    It does not depend on the text; :class:`QueryModulated` makes it. The data preprocessor's mean and standard
    deviation should be those that the weights were trained with.

    Args:
        model: A name of timm, such as ``'convnext_tiny'``, or ``'local-dir:FOLDER'`` for a folder in timm's layout,
            whose weights are loaded.
        out_indices: The features that are returned, as timm numbers them; by default all of timm's own choice. Many
            networks have feature 0 at stride 2, and a neck wants strides 4 to 32.
        pretrained: Whether to load timm's weights of this name, which takes a network or timm's cache.
        checkpoint: A file of weights of this network, as timm trains or saves them, to load instead.
        settings: Arguments of the network, such as ``dict(drop_path_rate=0.2)``. Networks with a fixed size of images
            (Swin, ViT) need ``img_size``, the side of the canvas.
        frozen_stages: The number of first stages that are not trained; -1 trains all. A stage ends at each of the
            features that are returned, and the first one includes the stem.
        init_cfg: mmengine initialisation, after the above.

    ``loaded_at_build`` has the names of the parameters that were loaded. A parameter on which no map depends is not
    trained.

    Raises:
        UserError: If timm cannot be imported, has no such network, or its weights cannot be had or do not fit.
    """

    def __init__(
        self,
        model: str,
        out_indices: Sequence[int] | None = None,
        pretrained: bool = False,
        checkpoint: str | None = None,
        settings: dict | None = None,
        frozen_stages: int = -1,
        init_cfg: dict | None = None,
    ) -> None:
        timm = import_timm()
        local = model.startswith(LOCAL)
        if checkpoint is not None and (pretrained or local):
            raise UserError(
                f'TimmBackbone: the weights come from checkpoint={checkpoint!r} or from '
                f'{model if local else "pretrained=True"}, not from both.'
            )
        settings = dict(settings or {})
        options: dict[str, Any] = dict(features_only=True, out_indices=out_indices, **settings)
        loaded: set[str] = set()
        if pretrained or local or checkpoint is not None:
            with torch.random.fork_rng(devices=[]):
                seed = torch.seed()
                built = self._create(timm, model, options, pretrained=checkpoint is None, checkpoint=checkpoint)
                torch.manual_seed(seed)
                random = self._create(timm, model, options)
            loaded = require_loaded(built, random, model if checkpoint is None else checkpoint)
        else:
            built = self._create(timm, model, options)
        in_a_row = type(built) is timm.models.FeatureListNet
        super().__init__(built, loaded, FeatureListSeam() if in_a_row else None, frozen_stages, init_cfg)
        self.name = model
        self.channels_last = str(getattr(getattr(built, 'output_fmt', None), 'value', 'NCHW')) == 'NHWC'
        self.probe_size = self._probe_size(settings)
        self._freeze()

    @staticmethod
    def _create(
        timm: ModuleType, name: str, options: dict[str, Any], pretrained: bool = False, checkpoint: str | None = None
    ) -> nn.Module:
        overlay = None
        if checkpoint is not None:
            overlay = dict(state_dict=state_dict_of(read_checkpoint(checkpoint), checkpoint), custom_load=False)
        try:
            model = timm.create_model(
                name, pretrained=pretrained or overlay is not None, pretrained_cfg_overlay=overlay, **options
            )
        except Exception as error:
            raise UserError(_not_built(timm, name, pretrained, checkpoint, error)) from None
        for attribute in ('pretrained_cfg', 'default_cfg'):
            (getattr(model, attribute, None) or {}).pop('state_dict', None)
        return model

    def _probe_size(self, settings: dict) -> tuple[int, int]:
        """Of 64 pixels where the size of the image does not matter, else that of the network."""
        config = getattr(self.model, 'pretrained_cfg', None) or {}
        size = settings.get('img_size') or (
            config['input_size'][1:] if config.get('fixed_input_size') else getattr(self.model, 'img_size', SIDE)
        )
        return tuple(size) if isinstance(size, list | tuple) else (size, size)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images [B, 3, H, W] -> one map [B, C_i, H_i, W_i] per feature of ``out_indices``."""
        maps = self.model(images)
        return tuple(x.permute(0, 3, 1, 2) for x in maps) if self.channels_last else tuple(maps)


def import_timm() -> ModuleType:
    """timm, or a sentence on why it cannot be imported."""
    try:
        import timm
        import timm.models
    except Exception as error:  # a torchvision that was built for another torch raises a RuntimeError
        raise UserError(
            "TimmBackbone needs timm, and timm needs a torchvision that fits torch (pip install 'mmuniqrnet[timm]'): "
            f'{first_line(error)}.'
        ) from None
    return timm


def require_loaded(model: nn.Module, random: nn.Module, origin: str) -> set[str]:
    """The names of a network's parameters, all of which must have been loaded.

    timm does not say what it loaded, so the network is compared with one of the same random weights. Vectors are not:
    those of norms and biases may well be as they were.

    Raises:
        UserError: For the first matrix or kernel that was not loaded.
    """
    before = dict(random.named_parameters())
    kept = [name for name, value in model.named_parameters() if value.ndim > 1 and torch.equal(value, before[name])]
    if kept:
        more = f', nor were {len(kept) - 1} others' if len(kept) > 1 else ''
        raise UserError(f'TimmBackbone: {origin} does not fit: {kept[0]} was not loaded from it{more}.')
    return set(before)


def _not_built(timm: ModuleType, name: str, pretrained: bool, checkpoint: str | None, error: Exception) -> str:
    reason = first_line(error).rstrip('.')
    if checkpoint is not None:
        return f'TimmBackbone: {checkpoint} does not fit {name!r} ({type(error).__name__}: {reason}).'
    if pretrained:
        return (
            f'TimmBackbone: {name!r} was not loaded with its weights ({reason}). Give them as a file '
            f"(checkpoint=FILE) or a folder (model='{LOCAL}FOLDER'), or the name while online."
        )
    names = timm.list_models()
    near = [] if name.partition('.')[0] in names else get_close_matches(name, names)
    hint = f'; did you mean {", ".join(near)}?' if near else '.'
    return f'TimmBackbone: {name!r} was not built: {reason}{hint}'

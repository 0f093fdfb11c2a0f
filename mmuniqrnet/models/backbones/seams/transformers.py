"""Seams of the backbones of transformers, within :class:`TransformersBackbone`, whose ``model`` they are.

Stage i is ``stage{i + 1}`` of transformers. In a plain ViT, where transformers calls each block a
stage, a stage is all blocks between two of the maps that are returned.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base import Seam, Tokens


class _HierarchicalSeam(Seam):
    def num_stages(self, body: nn.Module) -> int:
        return len(body.model.stage_names) - 1  # without the stem

    def out_indices(self, body: nn.Module) -> Sequence[int]:
        return [body.model.stage_names.index(name) - 1 for name in body.out_features]

    def unused(self, body: nn.Module, last: int) -> list[nn.Module]:
        return []  # TransformersBackbone has found them

    def _norm(self, body: nn.Module, i: int) -> nn.Module | None:
        return getattr(getattr(body.model, 'hidden_states_norms', None), body.model.stage_names[i + 1], None)

    def _with_norm(self, body: nn.Module, i: int, *parts: nn.Module) -> list[nn.Module]:
        norm = self._norm(body, i)
        return [*parts, *([] if norm is None else [norm])]


class MapStagesSeam(_HierarchicalSeam):
    """ConvNeXt, ConvNeXt V2, ResNet, DINOv3's ConvNeXt: ``stages`` of an encoder, maps in and maps out."""

    def stem(self, body: nn.Module, images: Tensor) -> Tensor:
        x = body.pad(images)
        for part in self.stem_parts(body):
            x = part(x)
        return x

    def stage(self, body: nn.Module, i: int, x: Tensor) -> Tokens:
        return Tokens.of_map(self._stages(body)[i](x))

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        return tokens.map()

    def normalised(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        norm = self._norm(body, i)
        return tokens.values if norm is None else Tokens.of_map(norm(tokens.map())).values

    def stage_parts(self, body: nn.Module, i: int) -> list[nn.Module]:
        return self._with_norm(body, i, self._stages(body)[i])

    def stem_parts(self, body: nn.Module) -> list[nn.Module]:
        return [getattr(body.model, name) for name in ('embeddings', 'embedder') if hasattr(body.model, name)]

    def _stages(self, body: nn.Module) -> nn.ModuleList:
        model = body.model
        return (model.encoder if hasattr(model, 'encoder') else model.model).stages


class SwinStagesSeam(_HierarchicalSeam):
    """Swin and Swin V2."""

    def stem(self, body: nn.Module, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        return self._swin(body).embeddings(body.pad(images))

    def stage(self, body: nn.Module, i: int, x: tuple[Tensor, tuple[int, int]]) -> Tokens:
        values, (height, width) = x
        hw = height, width
        for block in self._swin(body).encoder.layers[i].blocks:
            # Swin makes the windows smaller for good when a map is smaller than they are, unless told not to.
            values = block(values, hw, always_partition=True)[0] if self._has_norms(body) else block(values, hw)[0]
        return Tokens(values, hw)

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> tuple[Tensor, tuple[int, int]]:
        height, width = tokens.hw
        values = self._swin(body).encoder.layers[i].downsample(tokens.values, tokens.hw)
        return values, ((height + 1) // 2, (width + 1) // 2)

    def normalised(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        norm = self._norm(body, i)
        return tokens.values if norm is None else norm(tokens.values)

    def stage_parts(self, body: nn.Module, i: int) -> list[nn.Module]:
        return self._with_norm(body, i, self._swin(body).encoder.layers[i])

    def stem_parts(self, body: nn.Module) -> list[nn.Module]:
        return [self._swin(body).embeddings]

    @staticmethod
    def _has_norms(body: nn.Module) -> bool:
        return hasattr(body.model, 'hidden_states_norms')

    @staticmethod
    def _swin(body: nn.Module) -> nn.Module:
        return getattr(body.model, 'swin', body.model)


class ViTSeam(Seam):
    """DINOv2, with and without registers, and DINOv3's ViT; class and register tokens pass the gates unchanged."""

    def num_stages(self, body: nn.Module) -> int:
        return len(body.out_features)

    def out_indices(self, body: nn.Module) -> Sequence[int]:
        return range(len(body.out_features))

    def stem(self, body: nn.Module, images: Tensor) -> tuple[Tensor, tuple[int, int], dict[str, Any]]:
        model, patch, images = body.model, body.patch_size, body.pad(images)
        hw = images.shape[2] // patch, images.shape[3] // patch
        options = {}
        if hasattr(model, 'rope_embeddings'):
            # [N, c] -> [B, 1, N, c], since all that is kept between two stages has a row per image.
            rows = len(images), 1, -1, -1
            options['position_embeddings'] = tuple(x.expand(rows) for x in model.rope_embeddings(images))
        return model.embeddings(images), hw, options

    def stage(self, body: nn.Module, i: int, x: tuple[Tensor, tuple[int, int], dict[str, Any]]) -> Tokens:
        values, hw, options = x
        for layer in self.stage_parts(body, i):
            out = layer(values, **options)
            values = out[0] if isinstance(out, tuple) else out
        patches = values.shape[1] - hw[0] * hw[1]
        return Tokens(values[:, patches:], hw, (values[:, :patches], options))

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> tuple[Tensor, tuple[int, int], dict[str, Any]]:
        others, options = tokens.rest
        return torch.cat([others, tokens.values], dim=1), tokens.hw, options

    def normalised(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        model = body.model
        rope = hasattr(model, 'rope_embeddings')  # DINOv3 normalises its last block in any case
        if not model.config.apply_layernorm and not (rope and body.out_features[i] == model.stage_names[-1]):
            return tokens.values
        return (model.norm if rope else model.layernorm)(tokens.values)

    def stage_parts(self, body: nn.Module, i: int) -> list[nn.Module]:
        model = body.model
        ends = [0, *(model.stage_names.index(name) for name in body.out_features)]
        return list((model.encoder if hasattr(model, 'encoder') else model.model).layer[ends[i] : ends[i + 1]])

    def stem_parts(self, body: nn.Module) -> list[nn.Module]:
        return [body.model.embeddings]


SEAMS: dict[str, type[Seam]] = {
    'transformers.models.convnext.modeling_convnext.ConvNextBackbone': MapStagesSeam,
    'transformers.models.convnextv2.modeling_convnextv2.ConvNextV2Backbone': MapStagesSeam,
    'transformers.models.dinov2.modeling_dinov2.Dinov2Backbone': ViTSeam,
    'transformers.models.dinov2_with_registers.modeling_dinov2_with_registers.Dinov2WithRegistersBackbone': ViTSeam,
    'transformers.models.dinov3_convnext.modeling_dinov3_convnext.DINOv3ConvNextBackbone': MapStagesSeam,
    'transformers.models.dinov3_vit.modeling_dinov3_vit.DINOv3ViTBackbone': ViTSeam,
    'transformers.models.resnet.modeling_resnet.ResNetBackbone': MapStagesSeam,
    'transformers.models.rt_detr.modeling_rt_detr_resnet.RTDetrResNetBackbone': MapStagesSeam,
    'transformers.models.swin.modeling_swin.SwinBackbone': SwinStagesSeam,
    'transformers.models.swinv2.modeling_swinv2.Swinv2Backbone': SwinStagesSeam,
}

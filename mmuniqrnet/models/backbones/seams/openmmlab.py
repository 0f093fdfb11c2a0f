"""Seams of the backbones of mmdet and mmseg; each repeats the loop of their ``forward``."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .base import Seam, Tokens


class ResNetSeam(Seam):
    """ResNet and its relatives: a stem, then ``layer1`` to ``layer4``, maps in and maps out."""

    def num_stages(self, body: nn.Module) -> int:
        return len(body.res_layers)

    def stem(self, body: nn.Module, images: Tensor) -> Tensor:
        x = body.stem(images) if body.deep_stem else body.relu(body.norm1(body.conv1(images)))
        return body.maxpool(x)

    def stage(self, body: nn.Module, i: int, x: Tensor) -> Tokens:
        return Tokens.of_map(getattr(body, body.res_layers[i])(x))

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        return tokens.map()

    def unused(self, body: nn.Module, last: int) -> list[nn.Module]:
        return [getattr(body, name) for name in body.res_layers[last + 1 :]]


class RegNetSeam(ResNetSeam):
    """RegNet: a ResNet without pooling in its stem."""

    def stem(self, body: nn.Module, images: Tensor) -> Tensor:
        return body.relu(body.norm1(body.conv1(images)))


class LayersSeam(Seam):
    """CSPDarknet, CSPNeXt, MobileNetV2, EfficientNet: ``layers`` are modules or their names, maps in and maps out."""

    def num_stages(self, body: nn.Module) -> int:
        return len(body.layers)

    def stem(self, body: nn.Module, images: Tensor) -> Tensor:
        return body.conv1(images) if hasattr(body, 'conv1') else images

    def stage(self, body: nn.Module, i: int, x: Tensor) -> Tokens:
        return Tokens.of_map(self._layers(body)[i](x))

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        return tokens.map()

    def unused(self, body: nn.Module, last: int) -> list[nn.Module]:
        return self._layers(body)[last + 1 :]

    @staticmethod
    def _layers(body: nn.Module) -> list[nn.Module]:
        return [getattr(body, layer) if isinstance(layer, str) else layer for layer in body.layers]


class SwinSeam(Seam):
    """Swin: blocks on tokens, a norm of each output, and patch merging of the tokens before that norm."""

    def num_stages(self, body: nn.Module) -> int:
        return len(body.stages)

    def stem(self, body: nn.Module, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x, hw = body.patch_embed(images)
        if body.use_abs_pos_embed:
            x = x + body.absolute_pos_embed
        return body.drop_after_pos(x), hw

    def stage(self, body: nn.Module, i: int, x: tuple[Tensor, tuple[int, int]]) -> Tokens:
        values, hw = x
        for block in body.stages[i].blocks:
            values = block(values, hw)
        return Tokens(values, hw)

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> tuple[Tensor, tuple[int, int]]:
        return body.stages[i].downsample(tokens.values, tokens.hw)

    def normalised(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        return getattr(body, f'norm{i}')(tokens.values)

    def unused(self, body: nn.Module, last: int) -> list[nn.Module]:
        merging = body.stages[last].downsample
        return [*body.stages[last + 1 :], *([] if merging is None else [merging])]


class PyramidSeam(Seam):
    """PVT and MiT (SegFormer): each stage embeds the map before it, and its norm is a part of it."""

    def num_stages(self, body: nn.Module) -> int:
        return len(body.layers)

    def stem(self, body: nn.Module, images: Tensor) -> Tensor:
        return images

    def stage(self, body: nn.Module, i: int, x: Tensor) -> Tokens:
        embed, blocks, norm = body.layers[i]
        values, hw = embed(x)
        for block in blocks:
            values = block(values, hw)
        return Tokens(norm(values), hw)

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        return tokens.map()

    def unused(self, body: nn.Module, last: int) -> list[nn.Module]:
        return list(body.layers[last + 1 :])


class TwinsSeam(PyramidSeam):
    """Twins (PCPVT, SVT)."""

    def stage(self, body: nn.Module, i: int, x: Tensor) -> Tokens:
        values, hw = body.patch_embeds[i](x)
        values = body.position_encoding_drops[i](values)
        for j, block in enumerate(body.layers[i]):
            values = block(values, hw)
            if j == 0:
                values = body.position_encodings[i](values, hw)
        return Tokens(body.norm_list[i](values) if body.norm_after_stage else values, hw)

    def unused(self, body: nn.Module, last: int) -> list[nn.Module]:
        parts = [body.patch_embeds, body.layers, body.position_encodings]
        return [module for part in parts for module in part[last + 1 :]] + (
            list(body.norm_list[last + 1 :]) if body.norm_after_stage else []
        )


class MSCANSeam(PyramidSeam):
    """MSCAN (SegNeXt), which returns the maps of all stages."""

    def num_stages(self, body: nn.Module) -> int:
        return body.num_stages

    def out_indices(self, body: nn.Module) -> Sequence[int]:
        return range(body.num_stages)

    def stage(self, body: nn.Module, i: int, x: Any) -> Tokens:
        values, height, width = getattr(body, f'patch_embed{i + 1}')(x)
        for block in getattr(body, f'block{i + 1}'):
            values = block(values, height, width)
        return Tokens(getattr(body, f'norm{i + 1}')(values), (height, width))

    def unused(self, body: nn.Module, last: int) -> list[nn.Module]:
        return []

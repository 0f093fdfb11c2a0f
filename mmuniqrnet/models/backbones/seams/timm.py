"""The seam of timm's ``FeatureListNet``, within :class:`TimmBackbone`, whose ``model`` it is.

With ``features_only``, timm builds it from most networks: it runs their modules one after another, and returns some of
their outputs. A stage is all modules between two returned outputs; the first stage includes the stem.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from mmuniqrnet.utils.errors import UserError

from .base import Seam, Tokens


class FeatureListSeam(Seam):
    """ResNet, ConvNeXt, Swin and most others of timm; maps [B, C, H, W] or [B, H, W, C] in and out."""

    def num_stages(self, body: nn.Module) -> int:
        return len(body.model.return_layers)

    def out_indices(self, body: nn.Module) -> Sequence[int]:
        return range(self.num_stages(body))

    def stem(self, body: nn.Module, images: Tensor) -> Tensor:
        return images

    def stage(self, body: nn.Module, i: int, x: Tensor) -> Tokens:
        for part in self.stage_parts(body, i):
            x = part(x)
            if not isinstance(x, Tensor):
                raise UserError(
                    f'QueryModulated: a module of {body.name} in timm passes on several tensors, which cannot be gated '
                    'one by one; set between=False, so that the gates act on the maps that it returns.'
                )
        if body.channels_last:
            return Tokens(x.flatten(1, 2), tuple(x.shape[1:3]))
        return Tokens.of_map(x)

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        return tokens.values.unflatten(1, tokens.hw) if body.channels_last else tokens.map()

    def stage_parts(self, body: nn.Module, i: int) -> list[nn.Module]:
        names = list(body.model)
        ends = [0, *(number + 1 for number, name in enumerate(names) if name in body.model.return_layers)]
        return [body.model[name] for name in names[ends[i] : ends[i + 1]]]

    def stem_parts(self, body: nn.Module) -> list[nn.Module]:
        return []

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmuniqrnet.utils.errors import UserError

# Side of the image that is used to find out the channels; every usual backbone has a place left at stride 32.
PROBE_SIDE = 64


class Tokens(NamedTuple):
    """The output of a stage, as tokens.

    Attributes:
        values: [B, N, C], row by row.
        hw: Height and width of the grid of the N tokens.
        rest: What the seam needs for the next stage besides, such as a class token.
    """

    values: Tensor
    hw: tuple[int, int]
    rest: Any = None

    @classmethod
    def of_map(cls, x: Tensor, rest: Any = None) -> 'Tokens':
        """From a map [B, C, H, W]."""
        return cls(x.flatten(2).transpose(1, 2), tuple(x.shape[-2:]), rest)

    def map(self) -> Tensor:
        """As a map [B, C, H, W]."""
        return to_map(self.values, self.hw)


def to_map(values: Tensor, hw: tuple[int, int]) -> Tensor:
    """Tokens [B, H * W, C] -> map [B, C, H, W]."""
    return values.transpose(1, 2).unflatten(2, hw)


class Seam:
    """Runs the stages of a family of backbones one by one, with the same results as the backbone's own ``forward``.

    A seam has no state: each method is given the backbone. Stages are counted from 0, as in the backbone's
    ``out_indices``.
    """

    #: Whether the output of a stage is the input of the next one; otherwise nothing can act in between.
    between = True

    def num_stages(self, body: nn.Module) -> int:
        """Number of stages."""
        raise NotImplementedError

    def out_indices(self, body: nn.Module) -> Sequence[int]:
        """The stages whose maps the backbone returns."""
        return body.out_indices

    def stem(self, body: nn.Module, images: Tensor) -> Any:
        """images [B, 3, H, W] -> the input of stage 0."""
        raise NotImplementedError

    def stage(self, body: nn.Module, i: int, x: Any) -> Tokens:
        """The input of stage i -> its output."""
        raise NotImplementedError

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> Any:
        """The output of stage i -> the input of stage i + 1, of which there is one."""
        raise NotImplementedError

    def normalised(self, body: nn.Module, i: int, tokens: Tokens) -> Tensor:
        """The output of stage i -> the values [B, N, C] of the map that the backbone returns."""
        return tokens.values

    def unused(self, body: nn.Module, last: int) -> Sequence[nn.Module]:
        """Modules that are not needed if ``last`` is the last stage that is run."""
        return ()

    def channels(self, body: nn.Module, last: int) -> list[int]:
        """C of the stages 0 to ``last``; here found by running them on an empty image."""
        sizes = []
        training = body.training
        body.eval()
        try:
            with torch.no_grad():
                x = self.stem(body, empty_image(body))
                for i in range(last + 1):
                    tokens = self.stage(body, i, x)
                    sizes.append(tokens.values.shape[-1])
                    if i < last:
                        x = self.following(body, i, tokens)
        finally:
            body.train(training)
        return sizes


class OutputSeam(Seam):
    """For any backbone: the maps that it returns are its stages, and nothing can act in between."""

    between = False

    def num_stages(self, body: nn.Module) -> int:
        return len(self._maps_of_empty_image(body))

    def out_indices(self, body: nn.Module) -> Sequence[int]:
        return range(self.num_stages(body))

    def stem(self, body: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        maps = body(images)
        if not isinstance(maps, Sequence) or not all(isinstance(x, Tensor) and x.dim() == 4 for x in maps):
            raise UserError(
                f'QueryModulated: a backbone returns a tuple of maps [B, C, H, W], but {type(body).__name__} returns '
                f'{describe(maps)}; set its options so that it returns the maps of two or more stages.'
            )
        return tuple(maps)

    def stage(self, body: nn.Module, i: int, x: tuple[Tensor, ...]) -> Tokens:
        return Tokens.of_map(x[i], rest=x)

    def following(self, body: nn.Module, i: int, tokens: Tokens) -> tuple[Tensor, ...]:
        return tokens.rest

    def channels(self, body: nn.Module, last: int) -> list[int]:
        return [x.shape[1] for x in self._maps_of_empty_image(body)]

    def _maps_of_empty_image(self, body: nn.Module) -> tuple[Tensor, ...]:
        training = body.training
        body.eval()
        try:
            with torch.no_grad():
                return self.stem(body, empty_image(body))
        finally:
            body.train(training)


def empty_image(body: nn.Module) -> Tensor:
    """An image [1, 3, 64, 64] of zeros where the backbone's weights are."""
    weight = next(body.parameters(), None)
    if weight is None:
        return torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE)
    return torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE, device=weight.device, dtype=weight.dtype)


def describe(output: Any) -> str:
    """What a backbone returned, in words."""
    if isinstance(output, Tensor):
        return f'one tensor {list(output.shape)}'
    if isinstance(output, Sequence):
        return f'a {type(output).__name__} of ' + ', '.join(describe(x) for x in output)
    return f'a {type(output).__name__}'

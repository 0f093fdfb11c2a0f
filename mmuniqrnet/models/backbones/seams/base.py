from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmuniqrnet.utils.errors import UserError

from .probe import probe_image


class Tokens(NamedTuple):
    """The output of a stage, as tokens.

    Every tensor has a row for each image, so that rows can be selected when several expressions share an image.

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

    def stage_parts(self, body: nn.Module, i: int) -> Sequence[nn.Module]:
        """Modules of stage i, for a backbone whose library does not freeze stages itself."""
        raise NotImplementedError

    def stem_parts(self, body: nn.Module) -> Sequence[nn.Module]:
        """Modules before stage 0, likewise."""
        raise NotImplementedError

    def channels(self, body: nn.Module, last: int) -> list[int]:
        """C of the stages 0 to ``last``, found by running them on a small image.

        Raises:
            UserError: If the maps are not those of the backbone's own ``forward``, as with another version of its
                library.
        """
        image, sizes, maps = probe_image(body), [], []
        training = body.training
        body.eval()
        try:
            with torch.no_grad():
                x = self.stem(body, image)
                for i in range(last + 1):
                    tokens = self.stage(body, i, x)
                    sizes.append(tokens.values.shape[-1])
                    if i in self.out_indices(body):
                        maps.append(to_map(self.normalised(body, i, tokens), tokens.hw))
                    if i < last:
                        x = self.following(body, i, tokens)
                expected = body(image)
        finally:
            body.train(training)
        if not _equal(maps, [expected] if isinstance(expected, Tensor) else expected):
            raise UserError(
                f'QueryModulated: run one by one, the stages of {type(body).__name__} do not give the maps of its own '
                'forward; this version of its library is not one that they are known of: set between=False, so that '
                'the gates act on the maps that it returns.'
            )
        return sizes


class OutputSeam(Seam):
    """For any backbone: the maps that it returns are its stages, and nothing can act in between."""

    between = False

    def num_stages(self, body: nn.Module) -> int:
        return len(self._maps(body))

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
        return [x.shape[1] for x in self._maps(body)]

    def _maps(self, body: nn.Module) -> tuple[Tensor, ...]:
        training = body.training
        body.eval()
        try:
            with torch.no_grad():
                return self.stem(body, probe_image(body))
        finally:
            body.train(training)


def _equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether two lists of maps are equal but for rounding; on the meta device, whether their sizes are."""
    if [x.shape for x in one] != [x.shape for x in other]:
        return False
    return all(a.is_meta or (a - b).norm() <= 1e-3 * b.norm() for a, b in zip(one, other))


def describe(output: Any) -> str:
    """What a backbone returned, in words."""
    if isinstance(output, Tensor):
        return f'one tensor {list(output.shape)}'
    if isinstance(output, Sequence):
        return f'a {type(output).__name__} of ' + ', '.join(describe(x) for x in output)
    return f'a {type(output).__name__}'

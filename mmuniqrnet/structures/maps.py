"""Check that the maps of one part fit the next part."""

from collections.abc import Sequence

from torch import Tensor

from mmuniqrnet.utils.errors import UserError


def require_channels(part: str, channels: Sequence[int], maps: Sequence[Tensor], given_by: str) -> None:
    """Require as many maps [B, C_i, h, w] as ``channels`` has numbers C_i, and these numbers.

    Args:
        part: The class that takes the maps, for the message.
        channels: The ``in_channels`` that it was built with.
        maps: What it is given.
        given_by: What gives them, with the option that changes their number.

    Raises:
        ValueError: If they do not fit.
    """
    given = [x.shape[1] for x in maps]
    if len(given) != len(channels):
        raise UserError(
            f'{part} was built for {len(channels)} maps (in_channels={list(channels)}) and was given {len(given)}; '
            f'check {given_by}.'
        )
    if given != list(channels):
        raise UserError(
            f'{part} was built for maps of in_channels={list(channels)}, and is given maps of {given} channels; '
            'make them equal.'
        )

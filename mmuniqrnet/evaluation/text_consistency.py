"""Do the features of a stage agree with the text: how much of their energy lies on the object that is meant?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Consistency(NamedTuple):
    """How one map agrees with one expression.

    Attributes:
        inside: Share of the map's energy within the true mask, 0..1.
        area: Share of the image that the mask covers: what ``inside`` is for a map that is the same everywhere.
        pointing: Whether the map's highest place lies within the mask (the pointing game, Zhang et al. 2018).
        preferred: Whether, of the image's objects, the true one has the greatest mean energy; a map that does not know
            the text is right for one of n. None where the image has one object only.
    """

    inside: float
    area: float
    pointing: bool
    preferred: bool | None


def measure(energy: np.ndarray, masks: Sequence[np.ndarray], target: int) -> Consistency:
    """Compare a map with the masks of an image's objects.

    Args:
        energy: [H, W], not negative; a spatial gate, or the squared norm of the features, in original pixels.
        masks: bool [H, W] each, one for each object of the image; empty ones (hidden objects) are passed over.
        target: Which of them the expression means.

    Raises:
        ValueError: The energy is negative somewhere or zero everywhere, a mask has another size, or the target's is
            empty.
    """
    total = float(energy.sum(dtype=np.float64))
    if energy.min() < 0 or total <= 0:
        raise ValueError('the energy of a map must be zero or more everywhere, and more than zero somewhere')
    for mask in masks:
        if mask.shape != energy.shape:
            raise ValueError(f'a mask is {list(mask.shape)}, but the map is {list(energy.shape)} (height, width)')
    if not masks[target].any():
        raise ValueError('the mask of the object that is meant is empty')
    means = [float(energy[mask].mean(dtype=np.float64)) if mask.any() else -1.0 for mask in masks]
    return Consistency(
        inside=float(energy[masks[target]].sum(dtype=np.float64)) / total,
        area=float(masks[target].mean()),
        pointing=bool(masks[target].flat[int(energy.argmax())]),
        preferred=int(np.argmax(means)) == target if sum(mask.any() for mask in masks) > 1 else None,
    )


def summarise(measured: Mapping[str, Sequence[Consistency]]) -> list[dict[str, float | str | int]]:
    """A row for each map: its name, N and, in per cent, the means of what was measured."""
    rows = []
    for name, values in measured.items():
        choices = [value.preferred for value in values if value.preferred is not None]
        rows.append(
            dict(
                map=name,
                N=len(values),
                inside=100 * float(np.mean([value.inside for value in values])),
                area=100 * float(np.mean([value.area for value in values])),
                pointing=100 * float(np.mean([value.pointing for value in values])),
                preferred=100 * float(np.mean(choices)) if choices else float('nan'),
            )
        )
    return rows

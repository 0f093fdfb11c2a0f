"""What is known of a batch in which a loss is not finite: its expressions and losses, for a message and for a file."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.dist import get_world_size
from torch import Tensor

from mmuniqrnet.utils.io import atomic_path, unique_name

# Expressions that a message names; the file has all.
NAMED = 3
IDS = ('dataset', 'split', 'sent_id', 'img_id', 'img_path', 'text')


class BadBatch(NamedTuple):
    """A batch of one rank.

    Attributes:
        rank: The rank.
        losses: The losses that are not finite, by name.
        expressions: Ids and text of each item, as far as its data sample has them.
        file: Where the batch is saved; None if it is not.
    """

    rank: int
    losses: dict[str, float]
    expressions: list[dict[str, Any]]
    file: str | None

    def describe(self) -> str:
        """For the middle of a sentence: ``on rank 1, loss_mask_bce=nan; expressions ...; saved in FILE``."""
        losses = ', '.join(f'{name}={value}' for name, value in self.losses.items())
        rank = f'on rank {self.rank}, ' if get_world_size() > 1 else ''
        named = ', '.join(_name(expression) for expression in self.expressions[:NAMED])
        more = len(self.expressions) - NAMED
        parts = [
            losses,
            f'expressions {named}{f" and {more} more" if more > 0 else ""}' if named else '',
            f'saved in {self.file}' if self.file else 'not saved',
        ]
        return f'{rank}{"; ".join(part for part in parts if part)}'


def _name(expression: Mapping[str, Any]) -> str:
    name = '/'.join(str(expression[key]) for key in ('dataset', 'split', 'sent_id') if key in expression)
    return f'{name} {expression.get("text", "")!r} (image {expression.get("img_id", "unknown")})'


def expressions_of(data_batch: Any) -> list[dict[str, Any]]:
    """Ids and text of the items of a batch; empty if the batch has no data samples."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, Mapping) else None
    return [{key: sample.metainfo[key] for key in IDS if key in sample.metainfo} for sample in samples or ()]


def losses_of(outputs: Mapping[str, Any] | None) -> dict[str, float]:
    """The losses that a training step logs."""
    return {
        name: float(value.detach() if isinstance(value, Tensor) else value)
        for name, value in (outputs or {}).items()
        if 'loss' in name
    }


def not_finite(losses: Mapping[str, float]) -> dict[str, float]:
    """Those of the losses that are not finite; their sum ``loss`` only if no other is."""
    bad = {name: value for name, value in losses.items() if not math.isfinite(value)}
    return {name: value for name, value in bad.items() if name != 'loss'} or bad


def save_batch(folder: Path, name: str, content: Mapping[str, Any]) -> str:
    """Write ``content`` to ``name`` in ``folder``, or to ``name-2``, ... if there is such a file; returns the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / unique_name(name, {entry.name.lower() for entry in folder.iterdir()})
    with atomic_path(path) as part:
        torch.save(dict(content), part)
    return str(path)

"""Images that several expressions of a batch share: each is kept, and computed, once."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from mmengine.structures import BaseDataElement
from mmengine.utils import apply_to
from torch import Tensor

from mmuniqrnet.utils.errors import UserError

#: Metainfo of a data sample: the row of the batch's images that its expression refers to.
IMAGE_ROW = 'image_row'

T = TypeVar('T')


def find_same_images(images: Sequence[Tensor], data_samples: Sequence[BaseDataElement]) -> list[int]:
    """The row of each sample's image among the distinct images, in the order in which they first appear.

    Images are the same if they have the same pixels; only those of one ``img_path`` (or of none) are compared.

    Args:
        images: One [3, h, w] per sample; the comparison is cheap on the CPU, and waits for a GPU.
        data_samples: The samples.
    """
    rows: list[int] = []
    distinct: dict[str | None, list[tuple[int, Tensor]]] = {}
    count = 0
    for image, sample in zip(images, data_samples, strict=True):
        known = distinct.setdefault(sample.get('img_path'), [])
        row = next((row for row, other in known if torch.equal(image, other)), None)
        if row is None:
            row, count = count, count + 1
            known.append((row, image))
        rows.append(row)
    return rows


def image_rows(images: Tensor, data_samples: Sequence[BaseDataElement]) -> Tensor | None:
    """The row of ``images`` [I, 3, H, W] that each of the B samples refers to, [B]; None if each has its own.

    Raises:
        UserError: The numbers of images and samples differ, and the samples do not name their rows.
    """
    if len(images) == len(data_samples):
        return None
    rows = [sample.get(IMAGE_ROW) for sample in data_samples]
    if None in rows or max(rows, default=-1) >= len(images):
        raise UserError(
            f'{len(images)} images for {len(data_samples)} data samples: expressions share an image only if the data '
            f"preprocessor has share_images=True, which names each sample's row as metainfo '{IMAGE_ROW}'."
        )
    return torch.tensor(rows, device=images.device)


def take_rows(features: T, rows: Tensor | None) -> T:
    """The features of images -> those of expressions: the given rows of every tensor; all as they are if None.

    Their gradients are summed over the expressions of an image.
    """
    return features if rows is None else apply_to(features, torch.is_tensor, lambda values: _take(values, rows))


def _take(values: Tensor, rows: Tensor) -> Tensor:
    if values.dim() == 4 and not values.is_contiguous():
        # index_select would copy a map in channels-last order into the other one, in which convolutions are slower.
        return values.movedim(1, -1).index_select(0, rows).movedim(-1, 1)
    return values.index_select(0, rows)

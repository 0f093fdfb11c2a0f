"""Expressions of one image, one after the other, so that the image need be decoded once for all of them."""

from collections.abc import Iterator, Sequence

import torch
from mmengine.dataset import BaseDataset, DefaultSampler

from mmuniqrnet.datasets.base import annotation_of
from mmuniqrnet.registry import DATA_SAMPLERS
from mmuniqrnet.utils.errors import UserError


@DATA_SAMPLERS.register_module()
class SameImageSampler(DefaultSampler):
    """Every expression once an epoch, in groups of up to ``group_size`` that share an image; groups in random order.

    It saves decoding where the pipeline begins with ``LoadImageOnce``. With ``one_view``, and ``share_images=True`` in
    the data preprocessor, the network computes once a group what does not depend on the text; for this, ``batch_size``
    should be a multiple of ``group_size``. A batch then holds fewer different images,
    whose expressions are negatives to each other: with ``batch_size`` B it has at least B / ``group_size`` of them.
    Each epoch groups an image's expressions anew. Ranks take consecutive parts of the order, so that groups stay whole.

    Args:
        dataset: Its items have ``img_path``; masks in separate files are not read for it.
        group_size: The largest number of expressions of one image in a row; 1 is plain shuffling.
        seed: Of the order, the same on all ranks; drawn, and shared, if None.
        round_up: Repeat some expressions so that all ranks have equally many.
        shuffle: Whether the order is random; if not, images and their expressions are in the order of the data set.
        one_view: Whether the expressions of a batch about one image draw the same random numbers in their transforms,
            so that they get the same pixels wherever no transform heeds the expression. The batches of
            ``ResumableEpochLoop`` and ``ResumableIterLoop``, the loops of all our configs, do so
            (``SeededBatchSampler``); plain loops of mmengine do not seed samples, so there it changes nothing.

    Raises:
        ValueError: ``group_size`` is less than 1.
    """

    def __init__(
        self,
        dataset: BaseDataset,
        group_size: int = 4,
        seed: int | None = None,
        round_up: bool = True,
        shuffle: bool = True,
        one_view: bool = False,
    ) -> None:
        if group_size < 1:
            raise UserError(f'SameImageSampler: group_size must be at least 1, not {group_size}.')
        super().__init__(dataset, shuffle=shuffle, seed=seed, round_up=round_up)
        self.group_size = group_size
        self.one_view = one_view
        by_image: dict[str, list[int]] = {}
        for index in range(len(dataset)):
            by_image.setdefault(annotation_of(dataset, index)['img_path'], []).append(index)
        self._of_images = [torch.tensor(indices) for indices in by_image.values()]
        self._image_of = torch.empty(len(dataset), dtype=torch.long)
        for image, indices in enumerate(self._of_images):
            self._image_of[indices] = image

    def order(self) -> list[int]:
        """This epoch's order of all expressions, before it is divided among the ranks."""
        if not self.shuffle:
            return torch.cat(self._of_images).tolist()
        generator = torch.Generator()
        generator.manual_seed(self.seed + self.epoch)
        groups = [
            group
            for indices in self._of_images
            for group in indices[torch.randperm(len(indices), generator=generator)].split(self.group_size)
        ]
        return torch.cat([groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]).tolist()

    def drawn_as(self, indices: Sequence[int]) -> list[int]:
        """For each sample of a batch, the place in it of the sample whose random numbers it draws."""
        if not self.one_view:
            return list(range(len(indices)))
        first: dict[int, int] = {}
        images = self._image_of[list(indices)].tolist()
        return [first.setdefault(image, place) for place, image in enumerate(images)]

    def __iter__(self) -> Iterator[int]:
        order = self.order()
        if self.round_up:
            order = (order * (self.total_size // len(order) + 1))[: self.total_size]
        # DefaultSampler counts so, too: without rounding up, the last ranks have one less
        each, rest = divmod(len(order), self.world_size)
        counts = [each + (rank < rest) for rank in range(self.world_size)]
        start = sum(counts[: self.rank])
        return iter(order[start : start + counts[self.rank]])

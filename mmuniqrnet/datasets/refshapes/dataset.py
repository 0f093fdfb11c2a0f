"""RefShapes as a data set: made on first use, then read by the same code as RefCOCO."""

import time
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log

from mmuniqrnet.datasets.instance_store import InstanceStore
from mmuniqrnet.datasets.refer import ReferDataset
from mmuniqrnet.registry import DATASETS
from mmuniqrnet.utils.errors import MissingFileError, OverwriteError

from .storage import COMMAND, make_refshapes, read_info, settings_difference


@DATASETS.register_module()
class RefShapesDataset(ReferDataset):
    """Synthetic referring expressions: coloured shapes on cluttered backgrounds, with exact masks.

    The splits are ``train`` and ``val`` (all kinds of expressions), ``testA`` (attributes only) and ``testB`` (place
    and relation only). All objects of an image have the same number of expressions, so a model that ignores the text
    is right for about one in four; see :func:`text_blind_accuracy` and ``info.json``.

    Args:
        data_root: Folder of this data set alone.
        split: A split's name, or several.
        generate: Make the data if ``data_root`` does not exist or is empty.
        seed: Seed of the data; existing data must have been made with it.
        num_images: Number of images of each split; a split that is not named has none. None = existing data of any
            size; new data has 8000 train, 500 val, 400 testA and 400 testB.
        crowded: The harder setting, 5 to 7 objects per image and twice as many twins.
        no_target: Share of the expressions that fit no object of their image, with empty ``instances``.
        dataset_name: Value of ``dataset`` in the items.
        **kwargs: Keywords of :class:`BaseReferringDataset`, such as ``pipeline``, ``test_mode``, ``lazy_init`` and
            ``indices``.

    Raises:
        FileNotFoundError: The data does not exist and ``generate`` is False.
        FileExistsError: The folder has other files, or a RefShapes with other settings.
        ValueError: A setting is impossible, or the data has no such split.
    """

    def __init__(
        self,
        data_root: str = 'data/refshapes',
        split: str | Sequence[str] = 'train',
        generate: bool = True,
        seed: int = 0,
        num_images: dict[str, int] | None = None,
        crowded: bool = False,
        no_target: float = 0.0,
        dataset_name: str = 'refshapes',
        **kwargs: Any,
    ) -> None:
        self.generate = generate
        self.seed = seed
        self.num_images = num_images
        self.crowded = crowded
        self.no_target = no_target
        super().__init__(
            ann_file='instances.json',
            split_file='refs.json',
            data_root=data_root,
            data_prefix=dict(img_path='images'),
            split=split,
            dataset_name=dataset_name,
            **kwargs,
        )

    def load_expressions(self) -> tuple[list[dict], InstanceStore]:
        self._provide()
        return super().load_expressions()

    def _provide(self) -> None:
        """Make the data if it does not exist; refuse data with other settings."""
        info = read_info(self.data_root)
        if info is None and not self.generate:
            raise MissingFileError(
                f'RefShapes is not in {self.data_root}: make it there with "{COMMAND} '
                f'{self.data_root}", or pass generate=True.'
            )
        if info is None:
            start = time.perf_counter()
            print_log(f'RefShapes is not in {self.data_root} yet and is being made.', logger='current')
            info = make_refshapes(self.data_root, self.seed, self.num_images, self.crowded, self.no_target).info
            expressions = sum(split['expressions'] for split in info['splits'].values())
            print_log(
                f'RefShapes: {sum(info["num_images"].values())} images with {expressions} expressions made in '
                f'{self.data_root}, in {time.perf_counter() - start:.1f} s.',
                logger='current',
            )
            return
        wanted = self.num_images and {split: self.num_images.get(split, 0) for split in info['num_images']}
        difference = settings_difference(info, self.seed, wanted, self.crowded, self.no_target)
        if difference is not None:
            raise OverwriteError(
                f'{self.data_root} holds {difference}: choose another data_root, use these '
                f'settings, or replace the data with "{COMMAND} {self.data_root} --overwrite".'
            )

"""ReferItGame, from the JSON files that are common in visual grounding research (Hu et al., CVPR 2016)."""

import glob
import os
import re
from collections.abc import Sequence
from typing import Any

from mmengine import fileio
from mmengine.fileio import join_path
from mmengine.utils import is_abs

from mmuniqrnet.registry import DATASETS
from mmuniqrnet.utils.errors import MissingFileError, UserError

from .annotation_files import load_json, require_file
from .base import BaseReferringDataset
from .coco_files import repeated_sentence
from .instance_store import InstanceStore
from .objects import Repairs, clip_box, is_numbers

# Damaged in SAIAPR TC-12 (19579 is a GIF named .jpg) and left out by REFER; the published counts do not include them.
UNUSABLE_IMAGES = ('17975.jpg', '19575.jpg', '19579.jpg')


@DATASETS.register_module()
class ReferItDataset(BaseReferringDataset):
    """ReferItGame (berkeley split): one item per expression, box and, if a folder is given, mask.

    The files' boxes are x1, y1, x2, y2 of the first and last pixel *inside* the object: the largest coordinate is the
    image's size - 1, as they are minimum and maximum of the mask's pixel indices. Everywhere else in this package a
    box is given by its edges, so that x2 - x1 is its width: 1 is added to x2 and y2 here, and nowhere else.

    ``img_id`` is the image's number, ``ref_id`` and ``ann_id`` are the file's key ``{image}_{region}``, ``sent_id`` is
    ``{image}_{region}_{n}``.

    Args:
        ann_file: ``referit_bbox.json``: key to box.
        query_file: Expressions by key; ``{split}`` stands for the split's name.
        size_file: ``referit_imsize.json``: image name to [width, height].
        data_root: Root of the three files and of the prefixes.
        data_prefix: ``img_path``, the folder of ``{image}.jpg``, and ``mask_path``, the folder of SAIAPR's
            ``{image}_{region}.mat``; without the latter, instances have boxes only. Masks are read when an item is.
        split: ``train``, ``val``, ``test``, or several.
        dataset_name: Value of ``dataset`` in the items.
        exclude_images: Names of images to leave out. By default the three that cannot be used; 54,127, 5,842 and
            60,103 expressions remain.
        check_images: Check that the first item's image and mask exist, where a folder is given.
        **kwargs: Other keywords of :class:`BaseReferringDataset`.

    Raises:
        FileNotFoundError: A file, the first image or the first mask is missing.
        ValueError: A file is malformed, or the files do not fit together.
    """

    PREFIX_KEYS = ('img_path', 'mask_path')

    def __init__(
        self,
        ann_file: str = 'referit_bbox.json',
        query_file: str = 'referit_query_{split}.json',
        size_file: str = 'referit_imsize.json',
        data_root: str = '',
        data_prefix: dict = dict(img_path=''),
        split: str | Sequence[str] = 'train',
        dataset_name: str = 'referit',
        exclude_images: Sequence[str] = UNUSABLE_IMAGES,
        check_images: bool = True,
        **kwargs: Any,
    ) -> None:
        self.query_file = query_file
        self.size_file = size_file
        self.exclude_images = exclude_images
        self.has_masks = bool(data_prefix.get('mask_path'))
        self.check_masks = check_images and self.has_masks
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix,
            split=split,
            dataset_name=dataset_name,
            check_images=check_images,
            **kwargs,
        )

    def _join_prefix(self) -> None:
        for name in ('query_file', 'size_file'):
            path = getattr(self, name)
            if self.data_root and not is_abs(path):
                setattr(self, name, join_path(self.data_root, path))
        super()._join_prefix()

    def load_expressions(self) -> tuple[list[dict], InstanceStore]:
        queries = {split: self._load_queries(split) for split in self.splits}
        boxes = self._load_mapping(self.ann_file, 'ann_file', "the boxes by key, ReferItGame's referit_bbox.json")
        sizes = self._load_mapping(self.size_file, 'size_file', 'image sizes by name, referit_imsize.json')
        self.repairs = Repairs()
        expressions: list[dict] = []
        instances: list[dict] = []
        problems = repeated_sentence(
            [key for of_split in queries.values() for key in of_split], f'splits {", ".join(queries)}', 'regions', 'key'
        )
        for split, query_file in queries.items():
            for key, texts in query_file.items():
                image = key.rpartition('_')[0]
                name = f'{image}.jpg'
                if name in self.exclude_images:
                    continue
                try:
                    self._check_region(split, key, texts, boxes, sizes.get(name))
                    instance = self._instance(key, boxes[key], *sizes[name])
                except UserError as error:
                    problems.append(str(error))
                    continue
                width, height = sizes[name]
                common = dict(
                    img_path=join_path(self.data_prefix['img_path'], name),
                    img_id=int(image),
                    height=height,
                    width=width,
                    ref_id=key,
                    ann_id=key,
                    dataset=self.dataset_name,
                    split=split,
                    instance_index=[len(instances)],
                )
                instances.append(instance)
                expressions += [
                    dict(common, sent_id=f'{key}_{number}', text=text.strip()) for number, text in enumerate(texts)
                ]
        self.refuse(problems)
        self.report()
        self._check_first_mask(instances)
        return expressions, InstanceStore(instances)

    def _check_region(self, split: str, key: str, texts: list, boxes: dict, size: Any) -> None:
        """Raise a UserError unless expressions, box and image size of a region can be read."""
        path = self._query_path(split)
        if not re.fullmatch(r'\d+_\d+', key):
            raise UserError(f'{path}: the key {key!r} is not {{image}}_{{region}}, two numbers.')
        if key not in boxes or size is None:
            raise UserError(
                f'{path}: {key} has no {"box" if key not in boxes else "image size"} in '
                f'{self.ann_file if key not in boxes else self.size_file}.'
            )
        if not is_numbers(size) or len(size) != 2 or min(size) < 1:
            raise UserError(f'{self.size_file}: the size of the image of {key} is not [width, height]: {size}.')
        if not is_numbers(boxes[key]) or len(boxes[key]) != 4:
            raise UserError(
                f'{self.ann_file}: the box of {key} should be four numbers x1, y1, x2, y2, not {str(boxes[key])[:60]}.'
            )
        for number, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise UserError(f'{path}: expression {number} of {key} is empty, or not a string.')

    def _instance(self, key: str, box: list[float], width: int, height: int) -> dict:
        x1, y1, x2, y2 = map(float, box)
        try:
            edges = clip_box([x1, y1, x2 + 1, y2 + 1], width, height, self.repairs)
        except UserError:
            raise UserError(
                f'{self.ann_file}: the box {box} of {key} is not within its image of {width}x{height} '
                'pixels; boxes are expected as x1, y1, x2, y2, last pixel included.'
            ) from None
        instance: dict[str, Any] = dict(bbox=edges, bbox_label=0, ignore_flag=0)
        if self.has_masks:
            instance['mask_path'] = join_path(self.data_prefix['mask_path'], f'{key}.mat')
        return instance

    def _check_first_mask(self, instances: list[dict]) -> None:
        if self.check_masks and instances and not fileio.exists(instances[0]['mask_path']):
            raise MissingFileError(
                f"The mask {instances[0]['mask_path']} does not exist; SAIAPR's masks, "
                '{image}_{region}.mat, belong in data_prefix["mask_path"], in one folder.'
            )

    def _query_path(self, split: str) -> str:
        return self.query_file.replace('{split}', split)

    def _load_queries(self, split: str) -> dict[str, list[str]]:
        if '{split}' not in self.query_file and len(self.splits) > 1:
            raise UserError(f'query_file "{self.query_file}" needs "{{split}}" in it to read several splits.')
        before, _, after = self.query_file.partition('{split}')
        found = glob.glob(f'{glob.escape(before)}*{glob.escape(after)}')
        others = sorted(path[len(before) : len(path) - len(after)] for path in found)
        if others and not os.path.exists(self._query_path(split)):
            raise UserError(f'{os.path.dirname(before) or "."} has no split {split!r}; it has {", ".join(others)}.')
        content = "the expressions by key, ReferItGame's referit_query_{train,val,test}.json"
        return self._load_mapping(self._query_path(split), 'query_file', content)

    @staticmethod
    def _load_mapping(path: str, argument: str, content: str) -> dict:
        require_file(path, argument, content)
        mapping = load_json(path)
        if not isinstance(mapping, dict) or not all(isinstance(value, list) for value in mapping.values()):
            raise UserError(f'{path} should hold a JSON object of lists: {content}.')
        return mapping

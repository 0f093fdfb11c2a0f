"""Ref-L4: long expressions for boxes in images of COCO and Objects365, from the parquet files of the hub."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.fileio import join_path
from mmengine.logging import print_log

from mmuniqrnet.registry import DATASETS
from mmuniqrnet.structures.masks import xywh_to_xyxy
from mmuniqrnet.utils.errors import UserError

from .annotation_files import require_file
from .base import BaseReferringDataset
from .coco_files import repeated_sentence
from .instance_store import InstanceStore
from .objects import Repairs, clip_box, is_numbers
from .parquet_files import parquet_rows
from .published_counts import REF_L4, differences

COLUMNS = ('id', 'caption', 'bbox', 'image_id', 'file_name', 'height', 'width')
OPTIONAL = ('bbox_id', 'split')
SPLITS = ('val', 'test')
ORIGIN = 'JierunChen/Ref-L4'


@DATASETS.register_module()
class RefL4Dataset(BaseReferringDataset):
    """Ref-L4 (https://huggingface.co/datasets/JierunChen/Ref-L4), for evaluation: boxes, no masks.

    A row of the files is an expression. ``sent_id`` is the row's ``id``, ``img_id`` its ``image_id``, ``ref_id`` and
    ``ann_id`` are the box's ``bbox_id``, which the several expressions of an object share.

    A box that reaches a pixel or more outside its image is kept as it is, because the authors' evaluation does not clip
    boxes; the number of such boxes is logged. If both splits are loaded, a warning is logged if the number of
    expressions is not the published one.

    Args:
        ann_file: The parquet file; ``{split}`` stands for the split's name.
        data_root: Root folder of the files and of the image folder.
        data_prefix: ``img_path``, the folder into which ``images.tar.gz`` was unpacked.
        split: ``val``, ``test``, or both.
        dataset_name: Value of ``dataset`` in the items.
        check_images: Check that the first item's image exists, if an image folder is given.
        **kwargs: Other keywords of :class:`BaseReferringDataset`.

    Raises:
        FileNotFoundError: A file or the first image does not exist.
        UserError: pyarrow is missing, a row cannot be read, or an id is given twice; the first problems are listed.
    """

    def __init__(
        self,
        ann_file: str = 'ref-l4-{split}.parquet',
        data_root: str = '',
        data_prefix: dict = dict(img_path=''),
        split: str | Sequence[str] = SPLITS,
        dataset_name: str = 'ref-l4',
        check_images: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix,
            split=split,
            dataset_name=dataset_name,
            check_images=check_images,
            **kwargs,
        )

    def load_expressions(self) -> tuple[list[dict], InstanceStore]:
        self.refuse_unknown_split(SPLITS, self.ann_file)
        if '{split}' not in self.ann_file and len(self.splits) > 1:
            raise UserError(f'ann_file "{self.ann_file}" needs "{{split}}" in it to read several splits.')
        self.repairs = Repairs()
        self._outside = 0
        expressions: list[dict] = []
        instances: list[dict] = []
        places: dict[str, int] = {}
        problems: list[str] = []
        for split in self.splits:
            path = self.ann_file.replace('{split}', split)
            require_file(path, 'ann_file', f'a parquet file of {ORIGIN}')
            for where, row in parquet_rows([Path(path)], COLUMNS, ORIGIN, OPTIONAL):
                try:
                    item, instance = self._read_row(row, split)
                    index = places.setdefault(item['ref_id'], len(instances))
                    if index == len(instances):
                        instances.append(instance)
                    elif instances[index] != instance:
                        raise UserError(f'bbox_id {item["ref_id"]!r} is in another row with another box')
                    expressions.append(dict(item, instance_index=[index]))
                except UserError as error:
                    problems.append(f'{where}: {error}')
        problems += repeated_sentence([item['sent_id'] for item in expressions], self.ann_file, 'expressions')
        self.refuse(problems)
        self.report()
        if self._outside:
            print_log(
                f'{self.ann_file}: {self._outside:,} expression(s) have a box that reaches a pixel or more outside its '
                'image; these boxes are kept as they are.',
                logger='current',
            )
        wrong = differences(dict(expressions=len(expressions)), REF_L4)
        if set(self.splits) == set(SPLITS) and wrong:
            print_log(
                f'{self.ann_file} is not the complete Ref-L4: it has {wrong[0]}.',
                logger='current',
                level=logging.WARNING,
            )
        return expressions, InstanceStore(instances)

    def _read_row(self, row: Mapping[str, Any], split: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """An expression, and the instance that it refers to."""
        for key, kind, what in (
            ('id', int, 'a number'),
            ('image_id', int | str, 'an id'),
            ('file_name', str, 'a name'),
        ):
            if not isinstance(row[key], kind) or row[key] == '':
                raise UserError(f'"{key}" should be {what}, not {row[key]!r}')
        if not isinstance(row.get('bbox_id'), int | str | None):
            raise UserError(f'"bbox_id" should be an id, not {row["bbox_id"]!r}')
        if not isinstance(row['caption'], str) or not row['caption'].strip():
            raise UserError(f'"caption" of id {row["id"]} should be an expression, not {row["caption"]!r}')
        sides = row['height'], row['width']
        if not all(isinstance(side, int) and side > 0 for side in sides):
            raise UserError(f'"height" and "width" of id {row["id"]} should be positive numbers, not {list(sides)}')
        if row.get('split') not in (None, split):
            raise UserError(f'id {row["id"]} belongs to split {row["split"]!r}, not to {split!r}')
        number = row['id'] if row.get('bbox_id') is None else row['bbox_id']
        item = dict(
            img_path=join_path(self.data_prefix['img_path'], row['file_name']),
            img_id=row['image_id'],
            height=sides[0],
            width=sides[1],
            ref_id=number,
            ann_id=number,
            sent_id=row['id'],
            text=row['caption'].strip(),
            dataset=self.dataset_name,
            split=split,
        )
        try:
            return item, dict(bbox=self._read_box(row['bbox'], *sides), bbox_label=0, ignore_flag=0)
        except UserError as error:
            raise UserError(f'id {row["id"]}: {error}') from None

    def _read_box(self, bbox: Any, height: int, width: int) -> list[float]:
        if not is_numbers(bbox) or len(bbox) != 4:
            raise UserError(f'"bbox" should be four numbers [x, y, width, height], not {str(bbox)[:60]}')
        box = xywh_to_xyxy(bbox)
        x1, y1, x2, y2 = box
        try:
            return clip_box(box, width, height, self.repairs, 'the box')
        except UserError:
            if x2 <= x1 or y2 <= y1 or x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
                raise
            self._outside += 1
            return box

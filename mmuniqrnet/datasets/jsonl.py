"""Custom referring expressions from JSON Lines."""

from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log

from mmuniqrnet.registry import DATASETS
from mmuniqrnet.utils.errors import UserError

from .base import BaseReferringDataset
from .instance_store import InstanceStore
from .jsonl_validation import Findings, Problem, read_and_validate, validate_jsonl

__all__ = ['Findings', 'Problem', 'ReferJsonlDataset', 'read_and_validate', 'validate_jsonl']


@DATASETS.register_module()
class ReferJsonlDataset(BaseReferringDataset):
    """Custom data: a JSON Lines file; each line is one object in one image, each expression is one item.

    A line is ``{"image": "a/1.jpg", "expressions": ["the left cup", "white cup"], "bbox": [10, 20, 110.5, 80]}``:

    - ``image``: path under ``data_prefix['img_path']``;
    - ``expressions``: a string, or a list of strings, all for this object;
    - ``bbox``: [x1, y1, x2, y2], the edges in pixels of the stored image (before any EXIF rotation): a box that covers
      a 640x480 image is [0, 0, 640, 480];
    - ``mask``: COCO polygons, RLE (compressed or not), or the path of a PNG of the image's size, in which all but the
      object is black. The path is relative to ``data_prefix['mask_path']`` (by default the folder of the images);
    - ``bbox`` or ``mask`` may be left out: a missing box is derived from the mask, but a missing mask stays missing;
    - ``no_target``: true, without ``bbox`` and ``mask``, if the expressions match nothing in the image;
    - ``split`` (optional, but then in every line), ``width`` and ``height`` (optional).

    A box that reaches less than a pixel outside its image is clipped; the number of such boxes is logged once.

    Without ``split`` in the file, all of it belongs to the requested split. ``img_id`` is ``image``; ``ref_id`` and
    ``ann_id`` are the line's number from 1, ``sent_id`` is ``{line}_{n}``.

    Args:
        ann_file: The file.
        data_root, split, dataset_name: See :class:`BaseReferringDataset`.
        data_prefix: ``img_path``, and optionally ``mask_path``.
        check_images: Open every image's header, to check boxes and masks against its size. Otherwise the items have
            ``height`` and ``width`` only if the lines do. Of mask files, only the header is checked here, and the rest
            when the item is read; :func:`validate_jsonl` checks all of it.
        **kwargs: Other keywords of :class:`BaseReferringDataset`.

    Raises:
        FileNotFoundError: ``ann_file`` is missing.
        UserError: The file has a bad line; the first few are listed. :func:`validate_jsonl` lists them all.
    """

    PREFIX_KEYS = ('img_path', 'mask_path')
    list_all = ' (tools/dataset_tools/validate.py lists them all)'

    def __init__(
        self,
        ann_file: str,
        data_root: str = '',
        data_prefix: dict = dict(img_path=''),
        split: str | Sequence[str] = 'train',
        dataset_name: str = 'custom',
        check_images: bool = True,
        **kwargs: Any,
    ) -> None:
        self.open_images = check_images
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix,
            split=split,
            dataset_name=dataset_name,
            check_images=False,  # checked while the file is read, see open_images
            **kwargs,
        )

    def load_expressions(self) -> tuple[list[dict], InstanceStore]:
        records, problems, notes = read_and_validate(
            self.ann_file,
            self.data_prefix['img_path'],
            self.data_prefix.get('mask_path'),
            self.open_images,
            whole=False,
        )
        self.refuse([str(problem) for problem in problems])
        for note in notes:
            if not note.startswith('line '):  # only validate.py prints notes on single lines
                print_log(f'{self.ann_file}: {note}.', logger='current')
        records = self._choose(records)
        expressions = []
        for index, (number, record) in enumerate(records):
            common = dict(
                img_path=record['image_path'],
                img_id=record['image'],
                ref_id=number,
                ann_id=number,
                dataset=self.dataset_name,
                split=record['split'],
                instance_index=[] if record['instance'] is None else [index],
            )
            if record['size'] is not None:
                common['width'], common['height'] = record['size']
            expressions += [
                dict(common, sent_id=f'{number}_{n}', text=text) for n, text in enumerate(record['expressions'])
            ]
        return expressions, InstanceStore(
            dict(record['instance'] or {}, bbox_label=0, ignore_flag=0) for _, record in records
        )

    def _choose(self, records: list[tuple[int, dict]]) -> list[tuple[int, dict]]:
        """The chosen splits' records."""
        available = {record['split'] for _, record in records}
        if available == {None}:
            if len(self.splits) != 1:
                raise UserError(
                    f'{self.ann_file} has no "split" in its lines, so it is one split and cannot be '
                    f'{" and ".join(self.splits) or "none"}.'
                )
            return [(number, dict(record, split=self.splits[0])) for number, record in records]
        self.refuse_unknown_split(available, self.ann_file)
        return [(number, record) for number, record in records if record['split'] in self.splits]

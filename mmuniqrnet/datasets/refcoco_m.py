"""RefCOCO-M: expressions of RefCOCO's val with masks that were drawn anew, from the parquet files of the hub."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.fileio import join_path
from mmengine.logging import print_log

from mmuniqrnet.registry import DATASETS
from mmuniqrnet.structures.rle import rle_size
from mmuniqrnet.utils.errors import UserError

from .annotation_files import require_file
from .base import BaseReferringDataset
from .coco_files import repeated_sentence
from .instance_store import InstanceStore
from .objects import Repairs, read_object
from .parquet_files import list_parquet, parquet_rows
from .published_counts import REFCOCO_M, differences

COLUMNS = ('image_id', 'file_name', 'samples')
ORIGIN = 'moondream/refcoco-m'


@DATASETS.register_module()
class RefCOCOMDataset(BaseReferringDataset):
    """RefCOCO-M (https://huggingface.co/datasets/moondream/refcoco-m), for evaluation: boxes and masks.

    A row of the files is an image with its objects (``samples``). An item is one expression: ``img_id`` is COCO's
    number of the image, ``ref_id`` and ``ann_id`` are the object's ``id``, ``sent_id`` is ``{id}_{n}``. The only
    split is ``val``.

    The pixels of an image come from the image folder, under the image's ``file_name``: the folder of COCO's train2014,
    or the folder that ``mmuniqrnet get refcoco-m --images`` writes from the files. The column ``image`` is not read.

    A warning is logged if the numbers of images, objects and expressions are not the published ones.

    Args:
        ann_file: A parquet file, or a folder of them.
        data_root, data_prefix, dataset_name, check_images: See :class:`BaseReferringDataset`.
        split: ``'val'``.
        **kwargs: Other keywords of :class:`BaseReferringDataset`.

    Raises:
        FileNotFoundError: There is no parquet file, or the first image does not exist.
        UserError: pyarrow is missing, a row cannot be read, or an id is given twice; the first problems are listed.
    """

    def __init__(
        self,
        ann_file: str = '.',
        data_root: str = '',
        data_prefix: dict = dict(img_path=''),
        split: str | Sequence[str] = 'val',
        dataset_name: str = 'refcoco-m',
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
        require_file(self.ann_file, 'ann_file', f'the parquet files of {ORIGIN}')
        self.refuse_unknown_split({'val'}, self.ann_file)
        self.repairs = Repairs()
        expressions: list[dict] = []
        instances: list[dict] = []
        images: list[int] = []
        problems: list[str] = []
        for where, row in parquet_rows(list_parquet(self.ann_file), COLUMNS, ORIGIN):
            try:
                common = self._read_image(row)
                images.append(common['img_id'])
                for sample in row['samples']:
                    _add_sizes(common, sample)
                    instance, ref_id, texts = self._read_sample(sample, common)
                    common.update(ref_id=ref_id, ann_id=ref_id, instance_index=[len(instances)])
                    instances.append(instance)
                    expressions += [dict(common, sent_id=f'{ref_id}_{n}', text=text) for n, text in enumerate(texts)]
            except UserError as error:
                problems.append(f'{where}: {error}')
        problems += repeated_sentence(images, self.ann_file, 'images', 'image_id')
        objects = [item['ref_id'] for item in expressions if item['sent_id'].endswith('_0')]
        problems += repeated_sentence(objects, self.ann_file, 'samples')
        self.refuse(problems)
        self.report()
        counts = dict(images=len(images), objects=len(instances), expressions=len(expressions))
        wrong = differences(counts, REFCOCO_M)
        if wrong:
            print_log(
                f'{self.ann_file} is not the complete RefCOCO-M: it has {", ".join(wrong)}.',
                logger='current',
                level=logging.WARNING,
            )
        return expressions, InstanceStore(instances)

    def _read_image(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What the items of an image have in common, without its size."""
        if not isinstance(row['image_id'], int):
            raise UserError(f'"image_id" should be a number, not {row["image_id"]!r}')
        if not isinstance(row['file_name'], str) or not row['file_name']:
            raise UserError(f'"file_name" should be a name, not {row["file_name"]!r}')
        if not row['samples']:
            raise UserError(f'image {row["image_id"]} has no samples')
        path = join_path(self.data_prefix['img_path'], row['file_name'])
        return dict(img_path=path, img_id=row['image_id'], dataset=self.dataset_name, split='val')

    def _read_sample(self, sample: Mapping[str, Any], image: Mapping[str, Any]) -> tuple[dict, int, list[str]]:
        """Instance, id and expressions of an object."""
        number, texts = sample.get('id'), sample.get('sentences')
        if not isinstance(number, int):
            raise UserError(f'"id" of a sample should be a number, not {number!r}')
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise UserError(f'"sentences" of sample {number} should be a list of expressions, not {str(texts)[:80]}')
        annotation = dict(id=number, bbox=sample.get('bbox'), segmentation=sample['mask'])
        try:
            return read_object(annotation, image, self.repairs), number, [text.strip() for text in texts]
        except UserError as error:
            raise UserError(f'sample {number}: {error}') from None


def _add_sizes(image: dict[str, Any], sample: Any) -> None:
    """Set the image's height and width, which only its masks have, from the first of them."""
    mask = sample.get('mask') if isinstance(sample, Mapping) else None
    if not isinstance(mask, Mapping):
        raise UserError(f'a sample has no mask: {str(sample)[:80]}')
    if 'height' not in image:
        image['height'], image['width'] = rle_size(mask)

"""The base of all data sets of referring expressions: one item per expression, each instance stored once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from mmengine import fileio
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.fileio import join_path
from mmengine.logging import print_log
from mmengine.utils import is_abs

from mmuniqrnet.structures.mask_files import read_mask_file
from mmuniqrnet.utils.errors import MissingFileError, UserError

from .annotation_files import load_json, require_file, windows_path
from .instance_store import InstanceStore
from .objects import Repairs
from .pictures import check_picture

FILTER_KEYS = ('filter_empty_gt', 'exclude_img_ids')
SHOWN_PROBLEMS = 5


def annotation_of(dataset: Any, index: int) -> dict[str, Any]:
    """An item of any data set, as ``get_data_info`` gives it, but without reading mask files where this is possible.

    For mmengine's wrappers the data set inside is asked.
    """
    if isinstance(dataset, BaseReferringDataset):
        return dataset.get_annotation(index)
    if isinstance(dataset, ConcatDataset):
        dataset.full_init()
        part, index = dataset._get_ori_dataset_idx(index)
        return annotation_of(dataset.datasets[part], index)
    if isinstance(dataset, RepeatDataset | ClassBalancedDataset):
        dataset.full_init()
        return annotation_of(dataset.dataset, dataset._get_ori_dataset_idx(index))
    return dataset.get_data_info(index)


class BaseReferringDataset(BaseDataset):
    """A :class:`mmengine.dataset.BaseDataset` in which an item is one expression.

    Subclasses implement :meth:`load_expressions`. An item has the keys ``img_path``, ``img_id``, ``height`` and
    ``width`` (where known), ``sent_id``, ``ref_id``, ``ann_id``, ``text``, ``dataset``, ``split``, ``sample_idx`` and
    ``instances``: a list (one entry; none or several in gRefCOCO) of dicts with ``bbox`` ([x1, y1, x2, y2], float
    pixels of the stored image), ``mask`` (COCO polygons or RLE), ``bbox_label`` and ``ignore_flag`` (both 0). ``bbox``
    or ``mask`` is absent where the data has none.

    In ``data_list``, before it is serialized, an item has ``instance_index`` (positions in the instance store) in place
    of ``instances``; :meth:`get_data_info` adds the instances, and reads masks that are stored in separate files
    (``mask_path`` in the store).

    Args:
        ann_file: Annotation file; joined to ``data_root`` unless absolute.
        data_root: Root folder of the files and prefixes.
        data_prefix: ``dict(img_path=<image folder>)``; some subclasses read ``mask_path`` too.
        split: A split's name, or several: their expressions are combined, and each item names its split.
        dataset_name: Value of ``dataset`` in the items; metrics are reported as ``{dataset}/{split}/...``.
        check_images: Check, if an image folder is given, that the first item's image exists.
        filter_cfg: ``filter_empty_gt`` (bool) drops expressions without target; ``exclude_img_ids`` drops all
            expressions on these images, such as the val and test images of other sets: a collection of image ids, or
            a JSON file with a list of them, joined to ``data_root`` unless absolute.
        metainfo, indices, serialize_data, pipeline, test_mode, lazy_init, max_refetch: As in ``BaseDataset``.

    Raises:
        ValueError: ``filter_cfg`` or ``data_prefix`` has an unknown key, ``split`` is unknown or nothing is left
            after filtering.
        FileNotFoundError: The first image, or the file of ``exclude_img_ids``, does not exist.
    """

    METAINFO = dict(classes=('referent',))
    PREFIX_KEYS: tuple[str, ...] = ('img_path',)
    #: Text after the first problems in an error message: how to list all of them.
    list_all = ''

    def __init__(
        self,
        ann_file: str,
        data_root: str = '',
        data_prefix: dict = dict(img_path=''),
        split: str | Sequence[str] = 'train',
        dataset_name: str = 'refcoco',
        check_images: bool = True,
        metainfo: Mapping | Config | None = None,
        filter_cfg: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
    ) -> None:
        self.split = split
        self.dataset_name = dataset_name
        self.check_images = check_images and bool(data_prefix.get('img_path'))
        self.instance_store = InstanceStore([])
        self.repairs = Repairs()
        self._refuse_unknown(data_prefix, self.PREFIX_KEYS, 'data_prefix')
        self._refuse_unknown(filter_cfg or {}, FILTER_KEYS, 'filter_cfg')
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root,
            data_prefix={'img_path': '', **data_prefix},
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=serialize_data,
            pipeline=list(pipeline),
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )

    @staticmethod
    def _refuse_unknown(given: dict, known: Sequence[str], argument: str) -> None:
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise UserError(f'{argument} has unknown key(s) {", ".join(unknown)}; known: {", ".join(known)}.')

    @property
    def splits(self) -> list[str]:
        """The chosen splits, always as a list."""
        return [self.split] if isinstance(self.split, str) else list(self.split)

    def load_expressions(self) -> tuple[list[dict], InstanceStore]:
        """Read the files: one dict per expression, with ``instance_index``, and the instances that it refers to."""
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        data_list, self.instance_store = self.load_expressions()
        if self.check_images:
            # Of the other images, only those whose path was written on Windows: to look for all of them takes long.
            strange = {item['img_path']: None for item in data_list if windows_path(item['img_path'])}
            for path in [*(item['img_path'] for item in data_list[:1]), *strange]:
                if not fileio.exists(path):
                    raise MissingFileError(self._missing_image(path))
        return data_list

    def _missing_image(self, path: str) -> str:
        reason = windows_path(path)
        return f'The image {path} does not exist' + (
            f': {reason}.'
            if reason
            else f'; the images of {self.dataset_name} belong in {self.data_prefix["img_path"]} '
            '(data_prefix["img_path"], under data_root).'
        )

    def refuse(self, problems: Sequence[str]) -> None:
        """Raise a UserError that lists the first problems of the annotations, if there are any."""
        if not problems:
            return
        shown = '; '.join(problem.rstrip('.') for problem in problems[:SHOWN_PROBLEMS])
        more = f'; and {len(problems) - SHOWN_PROBLEMS} more' if len(problems) > SHOWN_PROBLEMS else ''
        raise UserError(
            f'{self.ann_file} has {len(problems)} problem(s), so it is not used: {shown}{more}{self.list_all}.'
        )

    def report(self) -> None:
        """Log what was changed while reading (``repairs``)."""
        for sentence in self.repairs.sentences():
            print_log(f'{self.ann_file}: {sentence}.', logger='current')

    def prepare_data(self, idx: int) -> Any:
        """Load an item through the pipeline; if its image cannot be read, the error names it and the expression.

        Raises:
            UserError: The image does not exist or cannot be decoded.
        """
        info = self.get_data_info(idx)
        path, text, sent_id = info['img_path'], info.get('text'), info.get('sent_id')
        try:
            return self.pipeline(info)
        except UserError:
            raise
        except Exception as error:
            # Any transform may load the image and may fail in any way, so check whether the image is the reason.
            try:
                check_picture(path)
            except UserError as reason:
                kind = MissingFileError if isinstance(error, FileNotFoundError) else UserError
                raise kind(f'{reason}; expression {text!r} (sent_id {sent_id}) refers to it.') from error
            raise

    def filter_data(self) -> list[dict]:
        cfg = self.filter_cfg or {}
        excluded = self._excluded_images(cfg.get('exclude_img_ids', ()))
        needs_target = cfg.get('filter_empty_gt', False)
        kept = [
            item
            for item in self.data_list
            if item['img_id'] not in excluded and (item['instance_index'] or not needs_target)
        ]
        if not kept:
            raise UserError(
                f'{self.ann_file}: no expression of split {", ".join(self.splits)} is left; the file has '
                f'{len(self.data_list)} before filter_cfg.'
            )
        return kept

    def _excluded_images(self, images: Collection[int | str] | str) -> set[int | str]:
        where = 'filter_cfg.exclude_img_ids'
        if isinstance(images, str):
            path = images if is_abs(images) else join_path(self.data_root or '', images)
            where = f'{where} "{path}"'
            content = 'a JSON list of image ids, which tools/dataset_tools/leakage.py makes from the refs files'
            require_file(path, 'filter_cfg.exclude_img_ids', content)
            images = load_json(path)
            if not isinstance(images, list) or not all(isinstance(image, int | str) for image in images):
                raise UserError(f'{where} should hold {content}.')
        known = {type(item['img_id']) for item in self.data_list}
        strange = [image for image in images if type(image) not in known]
        if strange and known:
            # Ids of another type never match (7 is not equal to '7'), so no image would be excluded.
            raise UserError(
                f'{where} has the image id {strange[0]!r}, but those of {self.ann_file} are of type '
                f'{", ".join(sorted(kind.__name__ for kind in known))}.'
            )
        return set(images)

    def get_annotation(self, idx: int) -> dict[str, Any]:
        """An item as :meth:`get_data_info` gives it, but masks in separate files are not read."""
        info = super().get_data_info(idx)
        info['instances'] = [self.instance_store[index] for index in info.pop('instance_index')]
        return info

    def get_data_info(self, idx: int) -> dict[str, Any]:
        info = self.get_annotation(idx)
        for instance in info['instances']:
            if 'mask_path' in instance:
                instance['mask'] = read_mask_file(instance.pop('mask_path'), info.get('height'), info.get('width'))
        return info

    def refuse_unknown_split(self, available: Collection[str], path: str) -> None:
        """Raise a ValueError that names the splits of the file, unless it has all chosen ones."""
        missing = [name for name in self.splits if name not in available]
        if missing or not self.splits:
            raise UserError(
                f'{path} has no split {", ".join(map(repr, missing)) or "(none was named)"}; it has '
                f'{", ".join(map(repr, sorted(available)))}.'
            )

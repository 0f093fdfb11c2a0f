"""RefCOCO, RefCOCO+, RefCOCOg, ReferItGame and gRefCOCO in the layout of the REFER toolkit."""

from collections.abc import Sequence
from typing import Any

from mmengine.fileio import join_path
from mmengine.utils import is_abs

from mmuniqrnet.registry import DATASETS
from mmuniqrnet.structures.masks import as_mask, xywh_to_xyxy
from mmuniqrnet.utils.errors import UserError

from .annotation_files import load_json, load_refs, require_file
from .base import BaseReferringDataset
from .instance_store import InstanceStore


@DATASETS.register_module()
class ReferDataset(BaseReferringDataset):
    """Referring expressions from REFER's files (https://github.com/lichengunc/refer), one item per expression.

    Every sentence of every ref of the split is an item, also where several refs describe one object. ``text`` is the
    sentence's ``raw``, as the annotator typed it, or ``sent`` where ``raw`` is absent; only the white space around it
    is removed. Images are found by ``images[].file_name`` of ``ann_file``: the refs' own ``file_name`` carries the
    object's number. Crowds are objects like any other, since an expression refers to them.

    gRefCOCO's refs are read too: ``ann_id`` may be a list, ``[]`` or ``[-1]``, and ``no_target`` true; ``instances``
    then has several or no entries.

    Args:
        ann_file: ``instances.json``, COCO's format.
        split_file: The refs, a list of dicts: a pickle, such as ``refs(unc).p``, read by an unpickler that admits
            plain values only, or ``.json``. Joined to ``data_root`` unless absolute.
        data_root, data_prefix, split, dataset_name, check_images: See :class:`BaseReferringDataset`.
        **kwargs: Other keywords of :class:`BaseReferringDataset`.

    Raises:
        FileNotFoundError: A file or the first image is missing.
        ValueError: A file is malformed, or refs and annotations do not fit together.
    """

    def __init__(
        self,
        ann_file: str,
        split_file: str,
        data_root: str = '',
        data_prefix: dict = dict(img_path=''),
        split: str | Sequence[str] = 'train',
        dataset_name: str = 'refcoco',
        check_images: bool = True,
        **kwargs: Any,
    ) -> None:
        self.split_file = split_file
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
        if self.split_file and self.data_root and not is_abs(self.split_file):
            self.split_file = join_path(self.data_root, self.split_file)
        super()._join_prefix()

    def load_expressions(self) -> tuple[list[dict], InstanceStore]:
        refs = self._load_refs()
        images, annotations = self._load_instances({ann_id for ref in refs for ann_id in self._ann_ids(ref)})
        position = {ann_id: index for index, ann_id in enumerate(annotations)}
        expressions = []
        for ref in refs:
            image = images.get(ref['image_id'])
            if image is None:
                raise UserError(
                    f'{self.split_file}: ref_id {ref["ref_id"]} is on image_id {ref["image_id"]}, which '
                    f'{self.ann_file} does not have; do the two files belong together?'
                )
            for ann_id in self._ann_ids(ref):
                self._check_annotation(ref, ann_id, annotations.get(ann_id))
            common = dict(
                img_path=join_path(self.data_prefix['img_path'], image['file_name']),
                img_id=image['id'],
                ref_id=ref['ref_id'],
                ann_id=ref['ann_id'],
                dataset=self.dataset_name,
                split=ref['split'],
                instance_index=[position[ann_id] for ann_id in self._ann_ids(ref)],
            )
            common.update({key: image[key] for key in ('height', 'width') if key in image})
            expressions += [
                dict(common, text=self._text(ref, sentence), sent_id=sentence['sent_id'])
                for sentence in ref['sentences']
            ]
        return expressions, InstanceStore(self._instance(annotation) for annotation in annotations.values())

    def _load_refs(self) -> list[dict]:
        """The chosen splits' refs."""
        require_file(self.split_file, 'split_file', 'the refs, such as refs(unc).p of the REFER toolkit')
        refs = load_refs(self.split_file)
        if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs) or not refs:
            raise UserError(f"{self.split_file} should hold a list of refs (dicts), as REFER's refs(unc).p does.")
        for ref in refs:
            missing = [key for key in ('ref_id', 'image_id', 'ann_id', 'split', 'sentences') if key not in ref]
            if missing:
                raise UserError(
                    f'{self.split_file}: ref_id {ref.get("ref_id", "(none)")} lacks '
                    f'{", ".join(missing)}; is this a file of refs?'
                )
        self.refuse_unknown_split({ref['split'] for ref in refs}, self.split_file)
        return [ref for ref in refs if ref['split'] in self.splits]

    def _load_instances(self, wanted: set[int]) -> tuple[dict[int, dict], dict[int, dict]]:
        """All images, and the wanted annotations, by id."""
        require_file(self.ann_file, 'ann_file', "images and annotations in COCO's format, REFER's instances.json")

        def drop_unreferred(node: dict) -> dict | None:
            # RefCOCO refers to a quarter of the annotations in its file: the others' polygons need not pile up.
            return None if 'bbox' in node and 'image_id' in node and node.get('id') not in wanted else node

        content = load_json(self.ann_file, object_hook=drop_unreferred)
        if not isinstance(content, dict) or not {'images', 'annotations'} <= content.keys():
            raise UserError(f'{self.ann_file} should be a JSON object with "images" and "annotations", as COCO\'s.')
        for image in content['images']:
            if not {'id', 'file_name'} <= image.keys():
                raise UserError(f'{self.ann_file}: an image lacks "id" or "file_name": {image}.')
        return (
            {image['id']: image for image in content['images']},
            {ann['id']: ann for ann in content['annotations'] if ann is not None and ann.get('id') in wanted},
        )

    def _ann_ids(self, ref: dict) -> list[int]:
        ids = ref['ann_id'] if isinstance(ref['ann_id'], list) else [ref['ann_id']]
        ids = [ann_id for ann_id in ids if ann_id != -1]
        if ids and ref.get('no_target'):
            raise UserError(f'{self.split_file}: ref_id {ref["ref_id"]} says no_target, but has ann_id {ids}.')
        return ids

    def _check_annotation(self, ref: dict, ann_id: int, annotation: dict | None) -> None:
        where = f'{self.split_file}: ref_id {ref["ref_id"]} refers to ann_id {ann_id}, which '
        if annotation is None:
            raise UserError(f'{where}{self.ann_file} does not have; do the two files belong together?')
        if annotation['image_id'] != ref['image_id']:
            raise UserError(
                f'{where}is on image_id {annotation["image_id"]} in {self.ann_file}, not on '
                f'{ref["image_id"]}; do the two files belong together?'
            )

    def _text(self, ref: dict, sentence: dict) -> str:
        if 'sent_id' not in sentence:
            raise UserError(f'{self.split_file}: a sentence of ref_id {ref["ref_id"]} lacks sent_id.')
        text = sentence.get('raw', sentence.get('sent'))
        if not isinstance(text, str) or not text.strip():
            raise UserError(
                f'{self.split_file}: the expression of ref_id {ref["ref_id"]}, sent_id {sentence["sent_id"]}, is empty.'
            )
        return text.strip()

    @staticmethod
    def _instance(annotation: dict) -> dict:
        instance: dict[str, Any] = dict(bbox_label=0, ignore_flag=0)
        if 'bbox' in annotation:
            instance['bbox'] = xywh_to_xyxy(annotation['bbox'])
        mask = as_mask(annotation.get('segmentation'))
        if mask is not None:
            instance['mask'] = mask
        return instance

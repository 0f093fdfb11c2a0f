"""RefCOCO, RefCOCO+, RefCOCOg, ReferItGame and gRefCOCO in the layout of the REFER toolkit."""

from collections.abc import Sequence
from typing import Any

from mmengine.fileio import join_path
from mmengine.utils import is_abs

from mmuniqrnet.registry import DATASETS
from mmuniqrnet.utils.errors import UserError

from .annotation_files import NOT_UNICODE, is_unicode, load_refs, require_file
from .base import BaseReferringDataset
from .coco_files import check_entries, load_coco, repeated_sentence
from .instance_store import InstanceStore
from .objects import Repairs, read_object


@DATASETS.register_module()
class ReferDataset(BaseReferringDataset):
    """Referring expressions from REFER's files (https://github.com/lichengunc/refer), one item per expression.

    Every sentence of every ref of the split is an item, also where several refs describe one object. ``text`` is the
    sentence's ``raw``, as the annotator typed it, or ``sent`` if ``raw`` is absent; only the white space around it
    is removed. Images are found by ``images[].file_name`` of ``ann_file``: the refs' own ``file_name`` includes the
    object's number. Crowds are kept like other objects, because expressions refer to them.

    gRefCOCO's refs are read too: ``ann_id`` may be a list, ``[]`` or ``[-1]``, and ``no_target`` true; ``instances``
    then has several or no entries.

    Args:
        ann_file: ``instances.json``, COCO's format.
        split_file: The refs, a list of dicts: a pickle, such as ``refs(unc).p``, read by an unpickler that accepts
            only plain values, or ``.json``. Joined to ``data_root`` unless absolute.
        data_root, data_prefix, split, dataset_name, check_images: See :class:`BaseReferringDataset`.
        **kwargs: Other keywords of :class:`BaseReferringDataset`.

    Parts of masks with fewer than three points are dropped, and boxes that reach less than a pixel outside their image
    are clipped; the numbers are logged once. A mask without any usable part counts as missing in training; an
    evaluation of masks stops at it with an error that names it.

    Raises:
        FileNotFoundError: A file or the first image is missing.
        UserError: A file is malformed, refs and annotations do not fit together, an id is given twice, or a box or
            mask cannot be read; the first problems are listed.
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
        images, annotations, problems = self._load_instances({ann_id for ref in refs for ann_id in self._ann_ids(ref)})
        where = f'{self.split_file}, split {", ".join(self.splits)}'
        problems += repeated_sentence([ref['ref_id'] for ref in refs], where, 'refs', 'ref_id')
        sentences = [sentence.get('sent_id') for ref in refs for sentence in ref['sentences']]
        problems += repeated_sentence([one for one in sentences if one is not None], where, 'sentences', 'sent_id')
        position = {ann_id: index for index, ann_id in enumerate(annotations)}
        expressions = []
        for ref in refs:
            found = self._problems_of_ref(ref, images, annotations)
            if found:
                problems += found
                continue
            image = images[ref['image_id']]
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
                dict(common, text=_text(sentence), sent_id=sentence['sent_id']) for sentence in ref['sentences']
            ]
        instances = self._read_objects(images, annotations, problems)
        self.refuse(problems)
        return expressions, InstanceStore(instances)

    def _read_objects(self, images: dict, annotations: dict, problems: list[str]) -> list[dict]:
        """The instances of the annotations, in their order; what cannot be read is added to ``problems``."""
        self.repairs, instances = Repairs(), []
        for ann_id, annotation in annotations.items():
            try:
                instances.append(read_object(annotation, images.get(annotation.get('image_id'), {}), self.repairs))
            except UserError as error:
                instances.append(dict(bbox_label=0, ignore_flag=0))
                problems.append(f'ann_id {ann_id} on image {annotation.get("image_id")}: {error}')
        self.report()
        return instances

    def _load_refs(self) -> list[dict]:
        """The chosen splits' refs."""
        require_file(self.split_file, 'split_file', 'the refs, such as refs(unc).p of the REFER toolkit')
        refs = load_refs(self.split_file)
        if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs) or not refs:
            raise UserError(f"{self.split_file} should hold a list of refs (dicts), as REFER's refs(unc).p does.")
        for ref in refs:
            named = f'{self.split_file}: ref_id {ref.get("ref_id", "(none)")}'
            missing = [key for key in ('ref_id', 'image_id', 'ann_id', 'split', 'sentences') if key not in ref]
            if missing:
                raise UserError(f'{named} lacks {", ".join(missing)}; is this a file of refs?')
            ids = [ref['ref_id'], ref['image_id'], *_as_list(ref['ann_id'])]
            if not all(isinstance(one, int | str) for one in ids) or not isinstance(ref['split'], str):
                raise UserError(f'{named}: its ids should be numbers, and its split a string: {str(ref)[:100]}.')
            if not isinstance(ref['sentences'], list) or not all(isinstance(one, dict) for one in ref['sentences']):
                raise UserError(f'{named}: "sentences" should be a list of objects with "sent_id" and "raw" or "sent".')
        self.refuse_unknown_split({ref['split'] for ref in refs}, self.split_file)
        return [ref for ref in refs if ref['split'] in self.splits]

    def _load_instances(self, wanted: set[int]) -> tuple[dict[int, dict], dict[int, dict], list[str]]:
        """All images and the wanted annotations, by id, and problems: ids that are given twice."""
        require_file(self.ann_file, 'ann_file', "images and annotations in COCO's format, REFER's instances.json")

        def drop_unreferred(node: dict) -> dict | None:
            # RefCOCO refers to a quarter of the annotations in its file; the others are dropped to save memory.
            strange = not isinstance(node.get('id'), int | str)
            return None if 'bbox' in node and 'image_id' in node and (strange or node['id'] not in wanted) else node

        content = load_coco(self.ann_file, object_hook=drop_unreferred)
        check_entries(content['images'], self.ann_file, 'image', ('id', 'file_name'))
        annotations = [
            annotation
            for annotation in content['annotations']
            if isinstance(annotation, dict)
            and isinstance(annotation.get('id'), int | str)
            and annotation['id'] in wanted
        ]
        problems = repeated_sentence([image['id'] for image in content['images']], self.ann_file, 'images')
        problems += repeated_sentence([one['id'] for one in annotations], self.ann_file, 'annotations')
        return (
            {image['id']: image for image in content['images']},
            {annotation['id']: annotation for annotation in annotations},
            problems,
        )

    def _ann_ids(self, ref: dict) -> list[int]:
        ids = [ann_id for ann_id in _as_list(ref['ann_id']) if ann_id != -1]
        if ids and ref.get('no_target'):
            raise UserError(f'{self.split_file}: ref_id {ref["ref_id"]} has "no_target": true, but also ann_id {ids}.')
        return ids

    def _problems_of_ref(self, ref: dict, images: dict, annotations: dict) -> list[str]:
        named = f'{self.split_file}: ref_id {ref["ref_id"]}'
        if ref['image_id'] not in images:
            return [
                f'{named} is on image_id {ref["image_id"]}, which {self.ann_file} does not have; do the two files '
                'belong together?'
            ]
        problems = []
        for ann_id in self._ann_ids(ref):
            where = f'{named} refers to ann_id {ann_id}, which '
            if ann_id not in annotations:
                problems.append(f'{where}{self.ann_file} does not have; do the two files belong together?')
            elif annotations[ann_id].get('image_id') != ref['image_id']:
                problems.append(
                    f'{where}is on image_id {annotations[ann_id].get("image_id")} in {self.ann_file}, not on '
                    f'{ref["image_id"]}; do the two files belong together?'
                )
        for sentence in ref['sentences']:
            if not isinstance(sentence.get('sent_id'), int | str):
                problems.append(f'{self.split_file}: a sentence of ref_id {ref["ref_id"]} lacks sent_id')
            elif not _text(sentence):
                problems.append(
                    f'{self.split_file}: the expression of ref_id {ref["ref_id"]}, sent_id {sentence["sent_id"]}, is '
                    'empty'
                )
            elif not is_unicode(_text(sentence)):
                problems.append(
                    f'{self.split_file}: the expression of ref_id {ref["ref_id"]}, sent_id {sentence["sent_id"]}, '
                    f'{_text(sentence)!r}, {NOT_UNICODE}'
                )
        return problems


def _as_list(ann_id: Any) -> list:
    return ann_id if isinstance(ann_id, list) else [ann_id]


def _text(sentence: dict) -> str:
    """The expression; an empty string if there is none."""
    text = sentence.get('raw', sentence.get('sent'))
    return text.strip() if isinstance(text, str) else ''

"""RefCOCO, RefCOCO+ and RefCOCOg without the expressions that the authors of Ref-L4 found to be wrong."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.fileio import join_path
from mmengine.logging import print_log
from mmengine.utils import is_abs

from mmuniqrnet.registry import DATASETS
from mmuniqrnet.utils.errors import UserError

from .annotation_files import require_file
from .coco_files import check_entries, load_coco
from .refer import ReferDataset

# From image id, annotation id and expression, all as text, to the qualities in the order of the file.
Review = dict[tuple[str, str, str], list[float]]


@DATASETS.register_module()
class ReviewedReferDataset(ReferDataset):
    """:class:`ReferDataset` without the expressions that a review marked as wrong.

    The authors of Ref-L4 (Chen et al., arXiv:2406.16866) reviewed the val and test sets of RefCOCO, RefCOCO+ and
    RefCOCOg (umd), and publish the result in ``refcocos_annotation_reviewed/`` of
    https://huggingface.co/datasets/JierunChen/Ref-L4. An expression with ``caption_quality`` 0 is wrong: it fits
    several objects or none, or its box is inaccurate. Boxes and masks stay those of RefCOCO.

    An expression is found in the review by its image, its object and its text (``sent`` of the refs, ignoring case and
    white space). One that the review does not have is kept; the number of these, and of those that are left out, is
    logged.

    Args:
        ann_file, split_file: See :class:`ReferDataset`.
        review_file: The review, such as ``refcoco_{split}_reviewed.json``; ``{split}`` stands for the split's name.
            Joined to ``data_root`` unless absolute.
        data_root, data_prefix, split, dataset_name, check_images: See :class:`BaseReferringDataset`.
        **kwargs: Other keywords of :class:`BaseReferringDataset`.

    Raises:
        FileNotFoundError: A file or the first image is missing.
        UserError: See :class:`ReferDataset`; or the review is malformed, or does not have most of the expressions.
    """

    def __init__(
        self,
        ann_file: str,
        split_file: str,
        review_file: str,
        data_root: str = '',
        data_prefix: dict = dict(img_path=''),
        split: str | Sequence[str] = 'val',
        dataset_name: str = 'refcoco_reviewed',
        check_images: bool = True,
        **kwargs: Any,
    ) -> None:
        self.review_file = review_file
        super().__init__(
            ann_file=ann_file,
            split_file=split_file,
            data_root=data_root,
            data_prefix=data_prefix,
            split=split,
            dataset_name=dataset_name,
            check_images=check_images,
            **kwargs,
        )

    def _join_prefix(self) -> None:
        if self.data_root and not is_abs(self.review_file):
            self.review_file = join_path(self.data_root, self.review_file)
        super()._join_prefix()

    def _load_refs(self) -> list[dict]:
        refs = super()._load_refs()
        if '{split}' not in self.review_file and len(self.splits) > 1:
            raise UserError(f'review_file "{self.review_file}" needs "{{split}}" in it to read several splits.')
        kept = []
        for split in self.splits:
            path = self.review_file.replace('{split}', split)
            kept += _without_wrong([ref for ref in refs if ref['split'] == split], load_review(path), path)
        return kept


def load_review(path: str) -> Review:
    """Read a file of reviewed labels: COCO's format, with an entry of ``images`` for each expression.

    Raises:
        FileNotFoundError: It is missing.
        UserError: It is malformed.
    """
    require_file(path, 'review_file', "reviewed labels, such as Ref-L4's refcoco_val_reviewed.json")
    content = load_coco(path)
    check_entries(content['images'], path, 'image', ('id', 'original_id', 'caption'))
    check_entries(content['annotations'], path, 'annotation', ('image_id', 'original_id', 'caption_quality'))
    images = {image['id']: image for image in content['images']}
    review: Review = defaultdict(list)
    for number, annotation in enumerate(content['annotations']):
        image, quality = images.get(annotation['image_id']), annotation['caption_quality']
        if image is None:
            raise UserError(
                f'{path}: annotation {number} has image_id {annotation["image_id"]}, which "images" does not list.'
            )
        if not isinstance(image['caption'], str) or not image['caption'].strip():
            raise UserError(f'{path}: "caption" of image {image["id"]} should be an expression.')
        if not isinstance(quality, int | float):
            raise UserError(f'{path}: "caption_quality" of annotation {number} should be a number, not {quality!r}.')
        review[_key(image['original_id'], annotation['original_id'], image['caption'])].append(quality)
    return review


def _without_wrong(refs: Sequence[Mapping[str, Any]], review: Review, path: str) -> list[dict]:
    """The refs of a split with the sentences that are not marked wrong; refs of which none is left are dropped."""
    remaining = {key: list(qualities) for key, qualities in review.items()}
    kept, wrong, unknown, total = [], 0, [], 0
    for ref in refs:
        sentences = []
        for sentence in ref['sentences']:
            text = sentence.get('sent') or sentence.get('raw') or ''
            qualities = remaining.get(_key(ref['image_id'], ref['ann_id'], text))
            total += 1
            if not qualities:
                unknown.append(f'{text!r} (ref_id {ref["ref_id"]})')
            elif qualities.pop(0) <= 0:
                wrong += 1
                continue
            sentences.append(sentence)
        if sentences:
            kept.append(dict(ref, sentences=sentences))
    if len(unknown) > total / 2:
        raise UserError(
            f'{path} does not have {len(unknown):,} of {total:,} expressions, such as {unknown[0]}: is it the review '
            'of another set or split?'
        )
    print_log(f'{path}: {wrong:,} of {total:,} expressions are marked wrong and left out.', logger='current')
    if unknown:
        print_log(
            f'{path}: {len(unknown):,} expressions are not in the review and are kept, such as {unknown[0]}.',
            logger='current',
            level=logging.WARNING,
        )
    return kept


def _key(image: Any, annotation: Any, text: str) -> tuple[str, str, str]:
    return str(image), str(annotation), ' '.join(text.lower().split())

"""Lines of JSON from a file in COCO's format, with phrases that the user gives for each category."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence

from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.datasets.coco_files import check_coco
from mmuniqrnet.datasets.objects import Repairs, read_object
from mmuniqrnet.structures.masks import with_text_counts
from mmuniqrnet.utils.errors import UserError


def phrases_by_category(path: str) -> dict[str, list[str]]:
    """Read ``{"cup": ["the cup", "a mug"], ...}``: from category name to phrases.

    Raises:
        FileNotFoundError, ValueError: The file is missing or holds something else.
    """
    require_file(path, 'the file of phrases', 'a JSON object of lists: phrases by category')
    phrases = load_json(path)
    if (
        not isinstance(phrases, dict)
        or not phrases
        or not all(
            isinstance(texts, list) and texts and all(isinstance(text, str) and text.strip() for text in texts)
            for texts in phrases.values()
        )
    ):
        raise UserError(f'{path} should hold a JSON object of lists of phrases, {{"cup": ["the cup", "a mug"]}}.')
    return phrases


def coco_to_records(
    coco: Mapping,
    phrases: Mapping[str, Sequence[str]],
    only_single: bool = True,
    split: str | None = None,
    repairs: Repairs | None = None,
) -> list[dict]:
    """Records for :class:`ReferJsonlDataset`, one per object, in the order of the annotations.

    Args:
        coco: The content of ``instances.json``: ``images``, ``annotations``, ``categories``.
        phrases: From category name to phrases; objects of other categories are skipped.
        only_single: Skip objects whose image has another object (or a crowd) of a category of the same name, because a
            phrase for the category does not tell them apart. Ids of annotations are not used.
        split: Value of ``split`` in the records; None = no such key.
        repairs: Counts what is changed: boxes that are clipped, parts of masks that are dropped.

    Raises:
        UserError: The annotations are malformed, a box or mask cannot be read, a category of ``phrases`` is not in the
            annotations, or no object is left.
    """
    check_coco(coco, 'the annotations', categories=True, unique=('images', 'categories'))
    repairs = Repairs() if repairs is None else repairs
    names = {category['id']: category['name'] for category in coco['categories']}
    unknown = sorted(set(phrases) - set(names.values()))
    if unknown:
        raise UserError(
            f'the annotations have no category {", ".join(unknown)}; '
            f'their categories are {", ".join(sorted(names.values()))}.'
        )
    images = {image['id']: image for image in coco['images']}
    # By the image's file, too: one photograph may be listed under two ids.
    groups = [
        (os.path.normpath(images[a['image_id']]['file_name']), names[a['category_id']].strip())
        for a in coco['annotations']
    ]
    members = Counter(groups)
    records = []
    for number, (annotation, group) in enumerate(zip(coco['annotations'], groups)):
        name = names[annotation['category_id']]
        alone = members[group] == 1 and not annotation.get('iscrowd', 0)
        if name not in phrases or (only_single and not alone):
            continue
        image = images[annotation['image_id']]
        record = dict(image=image['file_name'], expressions=list(phrases[name]))
        try:
            instance = read_object(annotation, image, repairs)
        except UserError as error:
            raise UserError(
                f'ann_id {annotation.get("id", f"(none, number {number})")} on image {image["file_name"]}: {error}.'
            ) from None
        if 'bbox' in instance:
            record['bbox'] = instance['bbox']
        if 'mask' in instance:
            mask = instance['mask']
            record['mask'] = with_text_counts(mask) if isinstance(mask, dict) else mask
        record.update({key: image[key] for key in ('width', 'height') if key in image})
        if split is not None:
            record['split'] = split
        records.append(record)
    if not records:
        raise UserError(
            'no object is left: none has a phrase'
            + (' and is the only one of its category in its image.' if only_single else '.')
        )
    return records

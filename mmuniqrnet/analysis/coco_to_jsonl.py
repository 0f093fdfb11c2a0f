"""Convert COCO annotations to JSON Lines of referring expressions, with given phrases for each category."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.structures.masks import as_mask, with_text_counts, xywh_to_xyxy
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import atomic_path, refuse_overwriting


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
    coco: Mapping, phrases: Mapping[str, Sequence[str]], only_single: bool = True, split: str | None = None
) -> list[dict]:
    """Records for :class:`ReferJsonlDataset`, one per object, in the order of the annotations.

    Args:
        coco: The content of ``instances.json``: ``images``, ``annotations``, ``categories``.
        phrases: From category name to phrases; objects of other categories are skipped.
        only_single: Skip objects whose image has another object (or a crowd) of the same category, because a phrase
            for the category does not tell them apart.
        split: Value of ``split`` in the records; None = no such key.

    Raises:
        ValueError: A category of ``phrases`` is not in the annotations, or no object is left.
    """
    names = {category['id']: category['name'] for category in coco['categories']}
    unknown = sorted(set(phrases) - set(names.values()))
    if unknown:
        raise UserError(
            f'the annotations have no category {", ".join(unknown)}; '
            f'their categories are {", ".join(sorted(names.values()))}.'
        )
    images = {image['id']: image for image in coco['images']}
    group_of = {a['id']: (a['image_id'], a['category_id']) for a in coco['annotations']}
    members = Counter(group_of.values())
    records = []
    for annotation in coco['annotations']:
        name = names[annotation['category_id']]
        alone = members[group_of[annotation['id']]] == 1 and not annotation.get('iscrowd', 0)
        if name not in phrases or (only_single and not alone):
            continue
        image = images[annotation['image_id']]
        record = dict(image=image['file_name'], expressions=list(phrases[name]))
        if 'bbox' in annotation:
            record['bbox'] = xywh_to_xyxy(annotation['bbox'])
        mask = as_mask(annotation.get('segmentation'))
        if mask is not None:
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


def write_jsonl(path: str, records: Sequence[Mapping], overwrite: bool = False) -> None:
    """Write one record per line.

    Raises:
        OverwriteError: The file exists and ``overwrite`` is False.
    """
    with atomic_path(refuse_overwriting(path, overwrite)) as part, part.open('w', encoding='utf-8') as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + '\n')

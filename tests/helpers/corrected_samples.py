"""RefCOCO-M, Ref-L4 and its reviews as the hub has them, made from annotations in REFER's layout."""

import json
from pathlib import Path

from pycocotools import mask as mask_utils

from mmuniqrnet.structures.masks import to_rle, with_text_counts


def refcoco_m_rows(refs: list[dict], content: dict, images: Path | None = None) -> list[dict]:
    """A row for each image, with its pixels if the folder of images is given."""
    annotations = {one['id']: one for one in content['annotations']}
    rows = []
    for image in content['images']:
        samples = [
            dict(
                id=ref['ann_id'],
                image_id=image['id'],
                category='thing',
                supercategory='things',
                label='thing',
                sentences=[sentence['raw'] for sentence in ref['sentences']],
                bbox=annotations[ref['ann_id']]['bbox'],
                mask=_rle(annotations[ref['ann_id']], image),
            )
            for ref in refs
            if ref['image_id'] == image['id']
        ]
        if samples:
            pixels = dict(bytes=(images / image['file_name']).read_bytes(), path=None) if images else None
            rows.append(dict(image=pixels, image_id=image['id'], file_name=image['file_name'], samples=samples))
    return rows


def _rle(annotation: dict, image: dict) -> dict:
    rle = with_text_counts(to_rle(annotation['segmentation'], image['height'], image['width']))
    return dict(counts=rle['counts'], size=[image['height'], image['width']])


def ref_l4_rows(refs: list[dict], content: dict, split: str, first_id: int = 0) -> list[dict]:
    """A row for each expression."""
    annotations = {one['id']: one for one in content['annotations']}
    images = {one['id']: one for one in content['images']}
    pairs = [(ref, sentence) for ref in refs for sentence in ref['sentences']]
    return [
        dict(
            id=first_id + number,
            caption=sentence['raw'],
            bbox=annotations[ref['ann_id']]['bbox'],
            bbox_area=float(mask_utils.area(_rle(annotations[ref['ann_id']], images[ref['image_id']]))),
            bbox_id=f'o365_{ref["ann_id"]}',
            ori_category_id='o365_64',
            image_id=f'o365_{ref["image_id"]}',
            height=images[ref['image_id']]['height'],
            width=images[ref['image_id']]['width'],
            file_name=images[ref['image_id']]['file_name'],
            is_rewrite=bool(number % 2),
            split=split,
        )
        for number, (ref, sentence) in enumerate(pairs)
    ]


def review(refs: list[dict], wrong: set) -> dict:
    """The reviewed labels of refs; the sentences whose ids are in ``wrong`` are marked."""
    pairs = [(ref, sentence) for ref in refs for sentence in ref['sentences']]
    return dict(
        images=[
            dict(id=number, original_id=ref['image_id'], caption=sentence['sent'], file_name='x.jpg')
            for number, (ref, sentence) in enumerate(pairs)
        ],
        annotations=[
            dict(
                id=number,
                image_id=number,
                original_id=ref['ann_id'],
                caption_quality=int(sentence['sent_id'] not in wrong),
            )
            for number, (ref, sentence) in enumerate(pairs)
        ],
        categories=[],
    )


def write_rows(path: Path, rows: list[dict]) -> Path:
    """The rows as a parquet file."""
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def make_corrected(root: Path, refs: list[dict], content: dict, images: Path) -> None:
    """All files that ``configs/_base_/datasets/corrected_labels.py`` reads besides RefCOCO's, under ``root``."""
    val = [ref for ref in refs if ref['split'] == 'val']
    write_rows(root / 'refcoco-m' / 'validation-00000-of-00001.parquet', refcoco_m_rows(val, content, images))
    first = 0
    for split in ('val', 'test'):
        rows = ref_l4_rows(val, content, split, first)
        for row in rows:
            row['bbox_id'] += split
        first += len(rows)
        write_rows(root / 'ref-l4' / f'ref-l4-{split}.parquet', rows)
    (root / 'ref-l4' / 'images').symlink_to(images, target_is_directory=True)
    folder = root / 'ref-l4' / 'refcocos_annotation_reviewed'
    folder.mkdir()
    for name, splits in (('refcoco', 'ABv'), ('refcoco+', 'ABv'), ('refcocog', 'tv')):
        for letter in splits:
            split = {'A': 'testA', 'B': 'testB', 'v': 'val', 't': 'test'}[letter]
            source = {'test': ('testA', 'testB')}.get(split, (split,))
            chosen = [ref for ref in refs if ref['split'] in source]
            marked = {chosen[0]['sentences'][0]['sent_id']}
            (folder / f'{name}_{split}_reviewed.json').write_text(json.dumps(review(chosen, marked)))

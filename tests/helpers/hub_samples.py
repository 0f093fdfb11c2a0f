"""Parquet files of the layout that the hub has for RefCOCO, made from REFER's files."""

import json
import pickle
from pathlib import Path

import pyarrow
import pyarrow.parquet

from mmuniqrnet.structures.masks import xywh_to_xyxy

FILES = {'train': 'train', 'val': 'validation', 'testA': 'test', 'testB': 'testB', 'test': 'test'}


def hub_rows(refs: list[dict], instances: dict) -> list[dict]:
    """A row for each ref, with the columns of the hub."""
    annotations = {one['id']: one for one in instances['annotations']}
    images = {one['id']: one for one in instances['images']}
    rows = []
    for ref in refs:
        annotation, image = annotations[ref['ann_id']], images[ref['image_id']]
        sentences = [
            dict(raw=one['raw'], sent=one['sent'], sent_id=one['sent_id'], tokens=one['tokens'])
            for one in ref['sentences']
        ]
        rows.append(
            dict(
                sent_ids=[one['sent_id'] for one in sentences],
                file_name=ref['file_name'],
                ann_id=ref['ann_id'],
                ref_id=ref['ref_id'],
                image_id=ref['image_id'],
                split=ref['split'],
                sentences=sentences,
                category_id=annotation['category_id'],
                raw_anns=json.dumps(annotation),
                raw_image_info=json.dumps(image),
                raw_sentences=json.dumps(sentences),
                image_path=f'coco/train2014/{image["file_name"]}',
                bbox=xywh_to_xyxy(annotation['bbox']),
                captions=[one['sent'] for one in sentences],
                global_image_id=f'coco.{image["id"]}',
                anns_id=str(ref['ann_id']),
            )
        )
    return rows


def write_parquet(rows: list[dict], folder: Path) -> Path:
    """The rows as files by split."""
    (folder / 'data').mkdir(parents=True)
    for split in dict.fromkeys(row['split'] for row in rows):
        table = pyarrow.Table.from_pylist([row for row in rows if row['split'] == split])
        pyarrow.parquet.write_table(table, folder / 'data' / f'{FILES[split]}-00000-of-00001.parquet')
    return folder


def rows_of_refer(folder: Path, refs_file: str) -> list[dict]:
    """The rows of a data set in REFER's layout."""
    refs = pickle.loads((folder / refs_file).read_bytes())
    return hub_rows(refs, json.loads((folder / 'instances.json').read_text()))


def small_rows() -> list[dict]:
    """Three refs on two images, of which two are about one object."""
    images = [dict(id=i, file_name=f'COCO_train2014_{i:012d}.jpg', height=40, width=60) for i in (3, 8)]
    annotations = [
        dict(
            id=number,
            image_id=image,
            bbox=[10.0, 5.0, 20.0, 30.0],
            area=600.0,
            iscrowd=0,
            category_id=18,
            segmentation=[[10.0, 5.0, 30.0, 5.0, 30.0, 35.0, 10.0, 35.0]],
        )
        for number, image in ((70, 3), (71, 8))
    ]
    refs = [
        dict(
            ref_id=number,
            ann_id=ann,
            image_id=image,
            split=split,
            file_name=f'COCO_train2014_{image:012d}_{ann}.jpg',
            sentences=[
                dict(raw=f'Dog {number}{end}', sent=f'dog {number}', sent_id=10 * number + i, tokens=['dog'])
                for i, end in enumerate(('!', '?'))
            ],
        )
        for number, ann, image, split in ((0, 70, 3, 'train'), (1, 71, 8, 'val'), (2, 71, 8, 'val'))
    ]
    return hub_rows(refs, dict(images=images, annotations=annotations))

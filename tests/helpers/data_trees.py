"""Small data roots in the layout that the tools expect, and the real files of ../shared linked into it."""

import json
import pickle
from pathlib import Path

from PIL import Image

from .paths import MINI


def coco_name(image_id: int) -> str:
    return f'COCO_train2014_{image_id:012}.jpg'


def write_set(root: Path, dataset: str, split_by: str, images: dict[str, list[int]], size=(40, 30)) -> Path:
    """One object and two sentences for each image; ``images`` are ids by split."""
    folder = root / dataset
    folder.mkdir(parents=True)
    photos = root / 'coco' / 'train2014'
    photos.mkdir(parents=True, exist_ok=True)
    refs, records, annotations = [], {}, []
    for split, ids in images.items():
        for image_id in ids:
            number = len(refs) + 1
            records[image_id] = dict(id=image_id, file_name=coco_name(image_id), width=size[0], height=size[1])
            Image.new('RGB', size).save(photos / coco_name(image_id))
            annotations.append(
                dict(
                    id=number,
                    image_id=image_id,
                    category_id=1,
                    iscrowd=0,
                    bbox=[2.0, 3.0, 10.5, 8.0],
                    segmentation=[[2.0, 3.0, 12.5, 3.0, 12.5, 11.0, 2.0, 11.0]],
                )
            )
            sentences = [
                dict(sent_id=2 * number + n, raw=text, sent=text) for n, text in enumerate(('left cup', 'mug'))
            ]
            refs.append(dict(ref_id=number, ann_id=number, image_id=image_id, split=split, sentences=sentences))
    instances = dict(images=list(records.values()), annotations=annotations, categories=[dict(id=1, name='cup')])
    (folder / 'instances.json').write_text(json.dumps(instances))
    (folder / f'refs({split_by}).p').write_bytes(pickle.dumps(refs, protocol=2))
    return folder


def change_annotation(folder: Path, number: int, **changes) -> None:
    path = folder / 'instances.json'
    content = json.loads(path.read_text())
    content['annotations'][number - 1].update(changes)
    path.write_text(json.dumps(content))


def link_mini(root: Path, source: Path = MINI) -> Path:
    """RefCOCO mini (or our own small files in its layout), where the tools expect it."""
    (root / 'coco').mkdir(parents=True)
    (root / 'coco' / 'train2014').symlink_to(source / 'images' / 'train2014')
    for dataset in ('refcoco', 'refcoco+', 'refcocog'):
        (root / dataset).symlink_to(source / dataset)
    return root

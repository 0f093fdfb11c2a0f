"""Make tests/data/refer_mini: small pictures, annotated in the layouts of REFER, gRefCOCO and ReferItGame.

    python tests/data/make_refer_mini.py FOLDER

Every object is a few rectangles of whole pixels in a colour that occurs nowhere else in its picture. A test therefore
counts an object's pixels in the picture itself, and compares them with what is read from the annotations.
"""

import json
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.io import savemat

BACKGROUND = (128, 128, 128)
COLOURS = dict(
    red=(255, 0, 0), green=(0, 255, 0), blue=(0, 0, 255), yellow=(255, 255, 0), purple=(255, 0, 255), cyan=(0, 255, 255)
)
# Of the MAT files, in place of the time of writing.
MAT_HEADER = b'MATLAB 5.0 MAT-file, written by make_refer_mini.py'.ljust(116)


@dataclass(frozen=True)
class Thing:
    """An object: its number, colour and rectangles (x, y, width, height), and how its segmentation is written."""

    ann_id: int
    colour: str
    rectangles: tuple[tuple[int, int, int, int], ...]
    written: str = 'polygons'  # or 'counts', 'rle', 'outline'
    outline: tuple[float, ...] = ()  # x, y, x, y, ... around the union of the rectangles

    def mask(self, height: int, width: int) -> np.ndarray:
        mask = np.zeros((height, width), np.uint8)
        for x, y, w, h in self.rectangles:
            mask[y : y + h, x : x + w] = 1
        return mask

    def xyxy(self) -> list[int]:
        x1, y1, x2, y2 = zip(*((x, y, x + w, y + h) for x, y, w, h in self.rectangles))
        return [min(x1), min(y1), max(x2), max(y2)]

    def segmentation(self, height: int, width: int) -> list | dict:
        if self.written == 'outline':
            return [list(self.outline)]
        if self.written == 'polygons':
            return [[float(v) for v in (x, y, x + w, y, x + w, y + h, x, y + h)] for x, y, w, h in self.rectangles]
        mask = self.mask(height, width)
        if self.written == 'rle':
            rle = coco_mask.encode(np.asfortranarray(mask))
            return dict(size=[height, width], counts=rle['counts'].decode())
        pixels = mask.flatten(order='F')  # column by column
        starts = np.flatnonzero(np.diff(pixels)) + 1
        counts = np.diff([0, *starts, pixels.size]).tolist()
        return dict(size=[height, width], counts=[0, *counts] if pixels[0] else counts)


@dataclass(frozen=True)
class Picture:
    number: int
    width: int
    height: int
    things: tuple[Thing, ...]

    def save(self, path: Path) -> None:
        pixels = np.full((self.height, self.width, 3), BACKGROUND, np.uint8)
        for thing in self.things:
            pixels[thing.mask(self.height, self.width) > 0] = COLOURS[thing.colour]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=95, subsampling=0)


L_SHAPE = (4.0, 20.0, 8.0, 20.0, 8.0, 26.0, 16.0, 26.0, 16.0, 30.0, 4.0, 30.0)
COCO_PICTURES = (
    Picture(
        101,
        40,
        24,
        (
            Thing(1, 'red', ((3, 4, 8, 12),)),
            Thing(2, 'blue', ((15, 2, 5, 9), (15, 14, 5, 8))),  # one object behind another: two parts
            Thing(3, 'green', ((24, 3, 4, 5), (30, 3, 4, 5), (27, 12, 6, 7)), 'counts'),  # a crowd
        ),
    ),
    Picture(
        102,
        24,
        36,
        (
            Thing(4, 'yellow', ((0, 5, 10, 11),), 'rle'),
            Thing(5, 'purple', ((4, 20, 4, 10), (8, 26, 8, 4)), 'outline', L_SHAPE),
        ),
    ),
    Picture(
        103,
        36,
        28,
        (
            Thing(6, 'red', ((22, 10, 14, 18),)),  # ends at the picture's edges
            Thing(7, 'cyan', ((2, 2, 6, 6), (2, 11, 6, 6), (2, 20, 6, 6))),
        ),
    ),
    Picture(
        104,
        32,
        32,
        (Thing(8, 'green', ((4, 5, 12, 20),), 'counts'), Thing(9, 'yellow', ((20, 0, 9, 32),), 'rle')),
    ),
)
CROWD = 3

# (split, picture, object, sentences as typed); each line is a ref.
Line = tuple[str, int, int | list[int], Sequence[str]]
REFCOCO: Sequence[Line] = (
    ('train', 101, 1, ('The RED block, left!', 'red one')),
    ('train', 101, 1, ('block nearest the left edge',)),  # a second ref of the same object
    ('train', 101, 2, (' le rectangle bleu coupé en deux ', '蓝色的方块', 'blue, top and bottom')),
    ('train', 101, 3, ('the green crowd on the right',)),
    ('val', 102, 4, ('yellow on the left edge', 'Top-left block')),
    ('val', 102, 5, ('the purple “L”', 'angle 📐')),
    ('testA', 103, 6, ('red corner',)),
    ('testA', 103, 7, ('three cyan squares', 'the column of squares')),
    ('testB', 104, 8, ('green',)),
    ('testB', 104, 9, ('yellow, from top to bottom', 'the tall one')),
)
# Pictures 102 and 101 change places: each of the two sets trains on what the other is validated on.
REFCOCO_PLUS: Sequence[Line] = (
    ('train', 102, 4, ('yellow thing',)),
    ('val', 101, 1, ('red thing', 'whole red block')),
    ('val', 101, 3, ('green things',)),
    ('testA', 103, 7, ('cyan pieces',)),
    ('testB', 104, 9, ('longest block', 'yellow bar')),
)
REFCOCOG_UMD: Sequence[Line] = (
    ('train', 103, 6, ('A red block that touches two edges of the picture.',)),
    ('val', 101, 2, ('a blue block whose middle cannot be seen', 'blue block in two parts')),
    ('test', 104, 8, ('a green block beside a yellow bar',)),
    ('test', 104, 9, ('The yellow bar beside a green block.', 'a bar as high as the picture')),
)
# Divides objects, not images: picture 103 is in both.
REFCOCOG_GOOGLE: Sequence[Line] = (
    ('train', 103, 6, ('A red block that touches two edges of the picture.',)),
    ('val', 103, 7, ('three cyan squares, one above the other',)),
)
GREFCOCO: Sequence[Line] = (
    ('train', 101, [1, 2], ('the red and the blue block', 'both solid blocks')),
    ('train', 101, [1], ('red',)),
    ('train', 101, [-1], ('a purple block', 'the dog')),  # -1: nothing in the picture is meant
    ('val', 102, [4, 5], ('everything',)),
    ('val', 102, [-1], ('a red block',)),
)
# ReferItGame: (split, key of picture and region, expressions).
REFERIT_PICTURES = (
    Picture(1101, 30, 20, (Thing(1, 'red', ((4, 3, 9, 8),)), Thing(2, 'blue', ((18, 0, 12, 20),)))),
    Picture(1102, 20, 30, (Thing(1, 'green', ((0, 12, 20, 6),)),)),
    Picture(1103, 24, 24, (Thing(1, 'cyan', ((5, 5, 6, 6), (15, 15, 6, 6))),)),
)
REFERIT = (
    ('train', '1101_1', (' Red block ', 'block on left')),
    ('train', '1101_2', ('blue wall',)),
    ('train', '19579_1', ('a picture that is left out, as it is unusable in SAIAPR TC-12',)),
    ('val', '1102_1', ('green band',)),
    ('test', '1103_1', ('cyan squares', 'les deux carrés')),
)


def coco_name(number: int) -> str:
    return f'COCO_train2014_{number:012}.jpg'


def instances(numbers: set[int]) -> dict:
    """``instances.json`` of these pictures."""
    pictures = [picture for picture in COCO_PICTURES if picture.number in numbers]
    annotations = []
    for picture in pictures:
        for thing in picture.things:
            x1, y1, x2, y2 = thing.xyxy()
            annotations.append(
                dict(
                    id=thing.ann_id,
                    image_id=picture.number,
                    category_id=1,
                    iscrowd=int(thing.ann_id == CROWD),
                    area=float(thing.mask(picture.height, picture.width).sum()),
                    bbox=[float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
                    segmentation=thing.segmentation(picture.height, picture.width),
                )
            )
    return dict(
        info=dict(description='Drawn by make_refer_mini.py'),
        images=[
            dict(id=picture.number, file_name=coco_name(picture.number), height=picture.height, width=picture.width)
            for picture in pictures
        ],
        annotations=annotations,
        categories=[dict(id=1, name='block', supercategory='shape')],
    )


def refs_of(lines: Sequence[Line]) -> list[dict]:
    """The refs as REFER writes them: ``raw`` as typed, ``sent`` in lower case without punctuation, ``tokens``."""
    refs, sent_id = [], 0
    for ref_id, (split, number, ann_id, texts) in enumerate(lines):
        sentences = []
        for raw in texts:
            sent = ' '.join(''.join(c for c in raw.lower() if c.isalnum() or c.isspace()).split())
            sentences.append(dict(sent_id=sent_id, raw=raw, sent=sent, tokens=sent.split()))
            sent_id += 1
        of_object = f'_{ann_id}' if isinstance(ann_id, int) else ''
        refs.append(
            dict(
                ref_id=ref_id,
                ann_id=ann_id,
                image_id=number,
                split=split,
                category_id=1,
                file_name=coco_name(number).replace('.jpg', f'{of_object}.jpg'),
                sent_ids=[sentence['sent_id'] for sentence in sentences],
                sentences=sentences,
            )
        )
    return refs


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=None) + '\n', encoding='utf-8')


def write_referit(folder: Path) -> None:
    boxes, sizes = {'19579_1': [0, 0, 9, 9]}, {'19579.jpg': [20, 20]}
    (folder / 'mask').mkdir(parents=True)
    for picture in REFERIT_PICTURES:
        picture.save(folder / 'images' / f'{picture.number}.jpg')
        sizes[f'{picture.number}.jpg'] = [picture.width, picture.height]
        for thing in picture.things:
            key = f'{picture.number}_{thing.ann_id}'
            x1, y1, x2, y2 = thing.xyxy()
            boxes[key] = [x1, y1, x2 - 1, y2 - 1]  # the last pixel inside the object
            path = folder / 'mask' / f'{key}.mat'
            # As in SAIAPR TC-12: 0 is the object.
            values = np.where(thing.mask(picture.height, picture.width), 0, 255).astype(np.uint8)
            savemat(path, dict(segimg_t=values), do_compression=True)
            path.write_bytes(MAT_HEADER + path.read_bytes()[len(MAT_HEADER) :])
    for split in ('train', 'val', 'test'):
        queries = {key: list(texts) for of_split, key, texts in REFERIT if of_split == split}
        write_json(folder / f'referit_query_{split}.json', queries)
    write_json(folder / 'referit_bbox.json', boxes)
    write_json(folder / 'referit_imsize.json', sizes)


def make(root: Path) -> None:
    """Write everything into ``root``, which must not exist."""
    root.mkdir(parents=True)
    for picture in COCO_PICTURES:
        picture.save(root / 'images' / 'train2014' / coco_name(picture.number))
    files = {
        'refcoco/refs(unc).p': REFCOCO,
        'refcoco+/refs(unc).p': REFCOCO_PLUS,
        'refcocog/refs(umd).p': REFCOCOG_UMD,
        'refcocog/refs(google).p': REFCOCOG_GOOGLE,
    }
    for name, lines in files.items():
        folder = (root / name).parent
        numbers = {number for other, more in files.items() if (root / other).parent == folder for _, number, *_ in more}
        write_json(folder / 'instances.json', instances(numbers))
        (root / name).write_bytes(pickle.dumps(refs_of(lines), protocol=2))
    write_json(root / 'grefcoco' / 'instances.json', instances({101, 102}))
    refs = [dict(ref, no_target=ref['ann_id'] == [-1]) for ref in refs_of(GREFCOCO)]
    write_json(root / 'grefcoco' / 'grefs(unc).json', refs)
    write_referit(root / 'referit')


if __name__ == '__main__':
    make(Path(sys.argv[1]))

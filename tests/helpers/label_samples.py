"""A small file of JSON Lines with everything that it can have, and its pictures."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from mmuniqrnet.analysis.labelling.jsonl import read_jsonl
from mmuniqrnet.structures.masks import decode_mask, encode_mask

HEIGHT, WIDTH = 37, 53


def ring() -> np.ndarray:
    """A mask with a hole, in two parts, one of which touches the edges of the image; bool [37, 53]."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:20, 10:22] = True
    mask[13:16, 14:18] = False
    mask[30:, 45:] = True
    return mask


LINES = [
    dict(image='a/1.png', expressions=['the left cup', 'Tässe "links" <&>'], bbox=[1.25, 2, 20.1, 30.7], split='train'),
    dict(image='a/1.png', expressions=['a jug'], mask=[[3.5, 4, 17.2, 5.1, 9, 30.25]], split='train'),
    dict(
        image='a/1.png',
        expressions='a handle in two pieces',
        bbox=[2, 3, 45.5, 33],
        mask=[[3, 4, 17, 5, 9, 30], [30.5, 10, 44, 10, 44, 20, 30.5, 20]],
        split='train',
    ),
    dict(image='2 b.png', expressions=['the ring', 'ring'], mask=encode_mask(ring()), split='val'),
    dict(image='2 b.png', expressions=['again'], bbox=[9.5, 9.5, 53, 37], mask='mask.png', split='val'),
    dict(image='2 b.png', expressions=['the zebra', 'a third cup'], no_target=True, split='val'),
    dict(image='3.png', expressions=['nothing at all'], no_target=True, split='val'),
]


def write_samples(folder: Path) -> Path:
    """The pictures and ``lines.jsonl``."""
    for name in ('a/1.png', '2 b.png', '3.png'):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(folder / name)
    Image.fromarray(ring().astype(np.uint8) * 255).save(folder / 'mask.png')
    path = folder / 'lines.jsonl'
    path.write_text(''.join(json.dumps(line) + '\n' for line in LINES))
    return path


def content(path: Path, images: str | None = None) -> list[tuple]:
    """What the objects of a file are: image, split, expressions, box, pixels of the mask; in an order of its own."""
    rows = []
    for one in read_jsonl(path, images):
        box = None if one.box is None else tuple(round(side, 9) for side in one.box)
        mask = None if one.mask is None else decode_mask(one.mask, HEIGHT, WIDTH).tobytes()
        rows.append((one.image, one.split, tuple(one.expressions), box, mask))
    return sorted(rows, key=str)

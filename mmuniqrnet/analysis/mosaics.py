"""Mosaics of annotated photographs, as a data set in COCO's format, to make more objects of a kind to tell apart."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.datasets.coco_files import check_coco
from mmuniqrnet.datasets.objects import Repairs, read_object
from mmuniqrnet.structures.masks import decode_mask, encode_mask, mask_to_box
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import temporary_folder_beside
from mmuniqrnet.utils.picture_files import read_image

# Photographs in each row of a mosaic: two beside each other, two below each other, four.
LAYOUTS = ((2,), (1, 1), (2, 2))
SIDES = (32, 16384)  # pixels: the smallest and the largest mosaic
# An image says by these that not all categories are annotated on it; only images that say the same are put together.
LIMITS = ('persons_only', 'annotated_categories')
# LVIS's lists differ from image to image, so its images cannot be put together.
UNSUPPORTED = ('neg_category_ids', 'not_exhaustive_category_ids')


class Cell(NamedTuple):
    """The place of a photograph in a mosaic, in pixels."""

    x: int
    y: int
    width: int
    height: int


def lay_out(sizes: Sequence[tuple[int, int]], rows: Sequence[int], side: int) -> tuple[list[Cell], tuple[int, int]]:
    """Put photographs into rows of equal width without gaps, and keep their aspect up to rounding.

    Args:
        sizes: (width, height) of each photograph.
        rows: The number of photographs in each row.
        side: The longer side of the mosaic, in pixels.

    Returns:
        The cells, and (width, height) of the mosaic.
    """
    groups, start = [], 0
    for count in rows:
        groups.append(sizes[start : start + count])
        start += count
    heights = [1 / sum(width / height for width, height in group) for group in groups]  # of a mosaic 1 wide
    total = sum(heights)
    width = round(side * min(1.0, 1 / total))
    cells, y, exact = [], 0, 0.0
    for group, height in zip(groups, heights):
        exact += height * width
        below = max(y + 1, round(exact))
        x, right = 0, 0.0
        for w, h in group:
            right += w / h * height * width
            beside = max(x + 1, round(right))
            cells.append(Cell(x, y, beside - x, below - y))
            x = beside
        y = below
    return cells, (max(cell.x + cell.width for cell in cells), y)


def move_object(instance: Mapping[str, Any], size: tuple[int, int], cell: Cell, canvas: tuple[int, int]) -> dict | None:
    """An object's box and segmentation, as COCO has them, on a mosaic; None if nothing is left of its mask.

    Args:
        instance: ``bbox`` (xyxy) or ``mask`` (polygons or RLE) or both, on the photograph.
        size: (width, height) of the photograph.
        cell: Its place.
        canvas: (width, height) of the mosaic.
    """
    scale = np.array([cell.width / size[0], cell.height / size[1]])
    offset = np.array([cell.x, cell.y])
    moved: dict[str, Any] = {}
    mask = instance.get('mask')
    box = instance['bbox'] if 'bbox' in instance else mask_to_box(instance['mask'])
    (x1, y1), (x2, y2) = (np.reshape(box, (2, 2)) * scale + offset).tolist()
    moved['bbox'] = [x1, y1, x2 - x1, y2 - y1]
    moved['area'] = moved['bbox'][2] * moved['bbox'][3]
    if isinstance(mask, list):
        moved['segmentation'] = [
            (np.reshape(polygon, (-1, 2)) * scale + offset).ravel().round(3).tolist() for polygon in mask
        ]
    elif mask is not None:
        pixels = decode_mask(mask, size[1], size[0]).astype(np.float32)
        small = cv2.resize(pixels, (cell.width, cell.height), interpolation=cv2.INTER_AREA) >= 0.5
        if not small.any():
            return None
        whole = np.zeros(canvas[::-1], dtype=bool)
        whole[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] = small
        moved['segmentation'] = encode_mask(whole)
        moved['area'] = int(small.sum())
    return moved


def write_mosaics(
    annotations: str, images: str | Path, folder: str | Path, count: int, side: int = 640, seed: int = 0
) -> dict[str, int]:
    """Write ``count`` mosaics of two or four photographs: ``folder/images`` and ``folder/instances.json``.

    Every photograph is used about equally often. A photograph on which only some categories are annotated is put
    together with others on which the same ones are.

    Args:
        annotations: A file in COCO's format.
        images: The folder of its images.
        folder: The folder to write, which must not exist or be empty.
        count: The number of mosaics.
        side: The longer side of a mosaic, in pixels.
        seed: Another one draws other mosaics.

    Returns:
        The numbers of mosaics, of objects, and of photographs that were left out because of LVIS's lists.

    Raises:
        UserError: The annotations are malformed or have no objects, an image is missing or has another size, an
            argument is out of range, or the folder is not empty.
    """
    if not SIDES[0] <= side <= SIDES[1]:
        raise UserError(f'the side of a mosaic should be from {SIDES[0]} to {SIDES[1]} pixels, not {side}.')
    if seed < 0:
        raise UserError(f'the seed should be 0 or more, not {seed}.')
    folder = Path(folder).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f'{folder} exists and is not an empty folder: give another one.')
    require_file(annotations, 'the annotations', "images, annotations and categories in COCO's format")
    coco = load_json(annotations)
    check_coco(coco, annotations, categories=True, unique=('images', 'categories'))
    if not coco['annotations']:
        raise UserError(f'{annotations} has no annotations, so there is nothing to tell apart on a mosaic.')
    by_image: dict[Any, list[Mapping]] = {}
    for annotation in coco['annotations']:
        by_image.setdefault(annotation['image_id'], []).append(annotation)
    usable = [image for image in coco['images'] if not any(key in image for key in UNSUPPORTED)]
    repairs = Repairs()
    out: dict[str, list] = dict(images=[], annotations=[], categories=coco['categories'])
    with temporary_folder_beside(folder) as temporary:
        inside = temporary / 'mosaics'
        (inside / 'images').mkdir(parents=True)
        for number, group, rows in _draw(usable, count, np.random.default_rng(seed)):
            pictures = [_read(image, images) for image in group]
            sizes = [picture.shape[1::-1] for picture in pictures]
            cells, (width, height) = lay_out(sizes, rows, side)
            canvas = np.zeros((height, width, 3), dtype=np.uint8)
            for image, picture, size, cell in zip(group, pictures, sizes, cells):
                canvas[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width] = cv2.resize(
                    picture, (cell.width, cell.height), interpolation=cv2.INTER_AREA
                )
                for annotation in by_image.get(image['id'], []):
                    instance = _read_object(annotation, image, repairs)
                    moved = move_object(instance, size, cell, (width, height))
                    if moved is not None:
                        out['annotations'].append(
                            dict(
                                id=len(out['annotations']) + 1,
                                image_id=number,
                                category_id=annotation['category_id'],
                                iscrowd=annotation.get('iscrowd', 0),
                                **moved,
                            )
                        )
            name = f'{number:06}.jpg'
            if not cv2.imwrite(str(inside / 'images' / name), canvas[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92]):
                raise UserError(f'the mosaics can not be written into {folder.parent}: is the disk full?')
            limits = {key: group[0][key] for key in LIMITS if key in group[0]}
            parts = [image['file_name'] for image in group]
            out['images'].append(dict(id=number, file_name=name, width=width, height=height, mosaic_of=parts, **limits))
        (inside / 'instances.json').write_text(json.dumps(out), encoding='utf-8')
        if folder.exists():
            folder.rmdir()
        inside.rename(folder)
    return dict(mosaics=len(out['images']), objects=len(out['annotations']), left_out=len(coco['images']) - len(usable))


def _draw(
    images: Sequence[Mapping], count: int, rng: np.random.Generator
) -> Iterator[tuple[int, list[Mapping], tuple[int, ...]]]:
    """Number from 1, photographs and rows of each mosaic."""
    alike: dict[str, list[Mapping]] = {}
    for image in images:
        alike.setdefault(json.dumps([image.get(key) for key in LIMITS]), []).append(image)
    groups = [group for group in alike.values() if len(group) >= max(map(sum, LAYOUTS))]
    if not groups:
        raise UserError('there are not four photographs with the same annotated categories to make mosaics of.')
    share = np.array([len(group) for group in groups], dtype=float)
    left: list[list[Mapping]] = [[] for _ in groups]
    for number in range(1, count + 1):
        which = int(rng.choice(len(groups), p=share / share.sum()))
        rows = LAYOUTS[int(rng.integers(len(LAYOUTS)))]
        if len(left[which]) < sum(rows):  # a new round; what is left over comes first
            known = {image['id'] for image in left[which]}
            fresh = [image for image in groups[which] if image['id'] not in known]
            left[which] = [fresh[i] for i in rng.permutation(len(fresh))] + left[which]
        yield number, [left[which].pop() for _ in range(sum(rows))], rows


def _read_object(annotation: Mapping, image: Mapping, repairs: Repairs) -> dict[str, Any]:
    try:
        return read_object(annotation, image, repairs)
    except UserError as error:
        raise UserError(f'ann_id {annotation.get("id", "(none)")} on image {image["file_name"]}: {error}.') from None


def _read(image: Mapping, folder: str | Path) -> np.ndarray:
    path = Path(folder) / image['file_name']
    if not path.is_file():
        raise UserError(f'{path} is missing: give the folder of the images that the annotations name.')
    picture = read_image(path)
    if 'width' in image and (image['width'], image['height']) != picture.shape[1::-1]:
        raise UserError(
            f'{path} is {picture.shape[1]}x{picture.shape[0]}, and the annotations say '
            f'{image["width"]}x{image["height"]}.'
        )
    return picture

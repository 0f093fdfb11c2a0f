"""Masks of objects: COCO polygons, run-length encodings (RLE) and mask files; decoding, encoding, boxes around them.

A mask is a list of polygons ``[[x1, y1, x2, y2, ...], ...]`` or an RLE ``dict(size=[height, width], counts=...)`` whose
counts are a list of run lengths or COCO's compressed string (bytes or str), in pixels of the stored image.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils
from scipy.io import loadmat

from mmuniqrnet.utils.errors import MissingFileError, UserError

# No mode with an alpha channel: opaque background would count as object.
MASK_MODES = ('1', 'L', 'P', 'I', 'I;16', 'RGB')

Polygons = list[list[float]]
Mask = Polygons | dict


def as_mask(segmentation: list | dict | None) -> Mask | None:
    """The ``segmentation`` of a COCO annotation as one mask; None if it is empty.

    REFER's ReferItGame files have a list of RLEs, possibly several for one object; these are merged into one.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, list) and isinstance(segmentation[0], dict):
        if len(segmentation) == 1:
            return segmentation[0]
        return mask_utils.merge([to_rle(rle, *rle['size']) for rle in segmentation])
    return segmentation


def is_polygon(part: object) -> bool:
    """Whether this is ``[x1, y1, x2, y2, ...]`` with at least three points.

    This must be checked because pycocotools accepts four numbers and reads them as a box (x, y, width, height).
    """
    return isinstance(part, list | tuple | np.ndarray) and len(part) >= 6 and len(part) % 2 == 0


def to_rle(mask: Mask, height: int, width: int) -> dict:
    """Polygons, or an RLE of either kind, as one compressed RLE of pycocotools."""
    if isinstance(mask, list):
        return mask_utils.merge(mask_utils.frPyObjects(mask, height, width))
    if isinstance(mask['counts'], list):
        return mask_utils.frPyObjects(mask, *mask['size'])
    return mask


def with_text_counts(rle: dict) -> dict:
    """The same RLE with its compressed counts as str, which JSON and mmdet need; pycocotools gives bytes."""
    return dict(rle, counts=rle['counts'].decode('ascii')) if isinstance(rle['counts'], bytes) else rle


def decode_mask(mask: Mask | Mapping, height: int, width: int) -> np.ndarray:
    """Polygons or RLE as a bool mask [height, width].

    Raises:
        ValueError: If it is neither, or an RLE of another size.
    """
    if isinstance(mask, Mapping) and 'counts' in mask:
        size = list(mask.get('size', ()))
        if size != [height, width]:
            raise UserError(f'an RLE mask has size {size}, but its image is {[height, width]} (height, width)')
        return mask_utils.decode(to_rle(dict(mask), height, width)).astype(bool)
    if isinstance(mask, list) and mask and all(map(is_polygon, mask)):
        return mask_utils.decode(to_rle([list(part) for part in mask], height, width)).astype(bool)
    raise UserError(
        'a mask must be a list of polygons, each [x1, y1, x2, y2, ...] with at least three points, or an '
        f"RLE dict with 'size' and 'counts', not {str(mask)[:80]}"
    )


def encode_mask(mask: np.ndarray) -> dict:
    """A bool mask [H, W] as a compressed RLE that JSON can hold."""
    rle = mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))
    return with_text_counts(dict(rle, size=[int(side) for side in rle['size']]))


def area_share(rle: dict) -> float:
    """The share of the image, 0..1, that a compressed RLE covers."""
    height, width = rle['size']
    return float(mask_utils.area(rle)) / (height * width)


def read_mask_file(path: str, height: int | None = None, width: int | None = None) -> dict:
    """Read a mask file as a compressed RLE.

    Args:
        path: ``.mat`` of SAIAPR TC-12 (``segimg_t``, zero on the object), or an image (non-zero on the object).
        height: Height of the image in pixels; None skips the check of the size.
        width: Width of the image in pixels; None skips the check of the size.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a mask, is empty, or is not of the image's size.
    """
    try:
        if path.endswith('.mat'):
            mask = np.asarray(loadmat(path, variable_names=['segimg_t'], appendmat=False)['segimg_t']) == 0
        else:
            with Image.open(path) as image:
                if image.mode not in MASK_MODES:
                    raise UserError(f'its mode is {image.mode}; save it with one channel')
                mask = np.asarray(image) != 0
    except FileNotFoundError:
        raise MissingFileError(f'The mask {path} does not exist.') from None
    except Exception as error:  # scipy and PIL raise many types for malformed files
        raise UserError(f'{path} is not a readable mask ({type(error).__name__}: {error}).') from None
    mask = mask.any(axis=-1) if mask.ndim == 3 else mask
    if height is not None and width is not None and mask.shape != (height, width):
        raise UserError(f'The mask {path} is {mask.shape[1]}x{mask.shape[0]} pixels, but its image {width}x{height}.')
    if not mask.any():
        raise UserError(f'The mask {path} is empty.')
    return mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))


def xywh_to_xyxy(bbox: Sequence[float]) -> list[float]:
    """COCO's box (x, y, width, height) as (x1, y1, x2, y2): float pixels, continuous edges, so there is no "+1"."""
    x, y, width, height = map(float, bbox)
    return [x, y, x + width, y + height]


def mask_to_box(mask: Mask) -> list[float]:
    """The box (x1, y1, x2, y2; float pixels, continuous edges) around a mask.

    For polygons it is the extent of their points, as in COCO's own boxes; for an RLE the extent of its pixels.
    """
    if isinstance(mask, list):
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in mask])
        return [*points.min(0).tolist(), *points.max(0).tolist()]
    return xywh_to_xyxy(mask_utils.toBbox(to_rle(mask, *mask['size'])))


def tight_box(mask: np.ndarray) -> list[float] | None:
    """The smallest box (x1, y1, x2, y2) around the pixels of a bool mask [H, W]; None if there are none.

    A pixel covers [x, x + 1] x [y, y + 1], so a single pixel has a box of area 1.
    """
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not columns.size:
        return None
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]

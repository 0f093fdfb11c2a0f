"""Masks: polygons, run-length encodings and mask files; how they are decoded, encoded and boxed."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils
from scipy.io import loadmat

# Alpha would count as object where it is opaque, so images with alpha are no masks.
MASK_MODES = ('1', 'L', 'P', 'I', 'I;16', 'RGB')


def xywh_to_xyxy(bbox: Sequence[float]) -> list[float]:
    """COCO's box (x, y, width, height) to (x1, y1, x2, y2): float pixels, continuous edges, hence no "+1"."""
    x, y, width, height = map(float, bbox)
    return [x, y, x + width, y + height]


def as_mask(segmentation: list | dict) -> list | dict | None:
    """A COCO segmentation as found: list of polygons, or an RLE dict; None where it is empty.

    REFER's ReferItGame files wrap RLEs into a list, possibly several for one object; these become one RLE.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, list) and isinstance(segmentation[0], dict):
        if len(segmentation) == 1:
            return segmentation[0]
        return mask_utils.merge([to_rle(rle, *rle['size']) for rle in segmentation])
    return segmentation


def to_rle(mask: list | dict, height: int, width: int) -> dict:
    """Polygons, uncompressed or compressed RLE to one compressed RLE of pycocotools."""
    if isinstance(mask, list):
        return mask_utils.merge(mask_utils.frPyObjects(mask, height, width))
    if isinstance(mask['counts'], list):
        return mask_utils.frPyObjects(mask, *mask['size'])
    return mask


def read_mask_file(path: str, height: int | None = None, width: int | None = None) -> dict:
    """Read a mask file into a compressed RLE.

    Args:
        path: ``.mat`` of SAIAPR TC-12 (``segimg_t``, zero on the object), or an image (non-zero on the object).
        height, width: The image's size in pixels; not compared where None.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no mask, empty, or not of the image's size.
    """
    try:
        if path.endswith('.mat'):
            mask = np.asarray(loadmat(path, variable_names=['segimg_t'], appendmat=False)['segimg_t']) == 0
        else:
            with Image.open(path) as image:
                if image.mode not in MASK_MODES:
                    raise ValueError(f'of mode {image.mode}; save it with one channel')
                mask = np.asarray(image) != 0
    except FileNotFoundError:
        raise FileNotFoundError(f'The mask {path} does not exist.') from None
    except Exception as error:  # scipy and PIL raise many kinds on malformed files
        raise ValueError(f'{path} is not a readable mask ({type(error).__name__}: {error}).') from None
    mask = mask.any(axis=-1) if mask.ndim == 3 else mask
    if height is not None and width is not None and mask.shape != (height, width):
        raise ValueError(f'The mask {path} is {mask.shape[1]}x{mask.shape[0]} pixels, its image {width}x{height}.')
    if not mask.any():
        raise ValueError(f'The mask {path} is empty.')
    return mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))


def mask_to_box(mask: list | dict) -> list[float]:
    """The box (x1, y1, x2, y2; float pixels, continuous edges) of a mask: extent of the polygons, as COCO has it, or
    of the RLE's pixels."""
    if isinstance(mask, list):
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in mask])
        return [*points.min(0).tolist(), *points.max(0).tolist()]
    return xywh_to_xyxy(mask_utils.toBbox(to_rle(mask, *mask['size'])))


def decode_segmentation(segmentation: list | Mapping, height: int, width: int) -> np.ndarray:
    """COCO polygons, RLE or uncompressed RLE as a bool mask [height, width].

    Raises:
        ValueError: It is none of these, or not of this size.
    """
    if isinstance(segmentation, Mapping) and 'counts' in segmentation:
        size = list(segmentation.get('size', ()))
        if size != [height, width]:
            raise ValueError(f'an RLE mask has size {size}, but its image is {[height, width]} (height, width)')
        if isinstance(segmentation['counts'], list):
            segmentation = mask_utils.frPyObjects(dict(segmentation), height, width)
        return mask_utils.decode(dict(segmentation)).astype(bool)
    if isinstance(segmentation, list) and segmentation and all(_is_polygon(part) for part in segmentation):
        parts = mask_utils.frPyObjects([list(part) for part in segmentation], height, width)
        return mask_utils.decode(mask_utils.merge(parts)).astype(bool)
    raise ValueError(
        'a mask must be a list of polygons, each [x1, y1, x2, y2, ...] with at least three points, or an '
        f"RLE dict with 'size' and 'counts', not {str(segmentation)[:80]}"
    )


def _is_polygon(part: object) -> bool:
    # pycocotools would read four numbers as a box xywh
    return isinstance(part, list | tuple | np.ndarray) and len(part) >= 6 and len(part) % 2 == 0


def encode_mask(mask: np.ndarray) -> dict:
    """A bool mask [H, W] as a COCO RLE that JSON can hold."""
    rle = mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=[int(side) for side in rle['size']], counts=rle['counts'].decode('ascii'))


def tight_box(mask: np.ndarray) -> list[float] | None:
    """The smallest continuous xyxy box around the pixels of a bool mask [H, W]; None where there are none.

    A pixel covers [x, x + 1] x [y, y + 1], so a single pixel has a box of area 1.
    """
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not columns.size:
        return None
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]

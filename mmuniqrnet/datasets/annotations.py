"""Boxes, masks and their compact storage, as all readers of referring expressions share them."""

import pickle
from collections.abc import Iterable, Sequence

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


class InstanceStore:
    """Immutable sequence of instance dicts, held as one byte buffer.

    An object has three expressions on average, so polygons kept with each expression would be held thrice; and Python
    objects would be copied into every forked worker as soon as their reference counts change (see
    ``BaseDataset.serialize_data``, which this follows).
    """

    def __init__(self, instances: Iterable[dict]) -> None:
        records = [np.frombuffer(pickle.dumps(instance, protocol=4), dtype=np.uint8) for instance in instances]
        self._ends = np.cumsum([len(record) for record in records], dtype=np.int64)
        self._bytes = np.concatenate(records) if records else np.empty(0, dtype=np.uint8)

    @property
    def nbytes(self) -> int:
        """Size of the buffers in bytes."""
        return self._bytes.nbytes + self._ends.nbytes

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> dict:
        start = 0 if index == 0 else self._ends[index - 1]
        return pickle.loads(memoryview(self._bytes[start : self._ends[index]]))

    def __deepcopy__(self, memo: dict) -> 'InstanceStore':
        # Immutable: subsets of a data set share it.
        return self

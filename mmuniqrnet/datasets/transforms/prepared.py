from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import BaseTransform, Compose
from mmdet.structures.mask import BitmapMasks

from mmuniqrnet.registry import TRANSFORMS
from mmuniqrnet.utils.errors import UserError


class _Masks(NamedTuple):
    """Bitmap masks [n, H, W], a bit for each pixel."""

    bits: np.ndarray
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, masks: BitmapMasks) -> '_Masks':
        return cls(np.packbits(masks.masks), masks.masks.shape)

    def unpack(self) -> BitmapMasks:
        n, height, width = self.shape
        bitmaps = np.unpackbits(self.bits, count=n * height * width).reshape(self.shape)
        return BitmapMasks(bitmaps, height, width)


@TRANSFORMS.register_module()
class PreparedOnce(BaseTransform):
    """Applies transforms to each object once, and keeps the results in memory; for small images.

    Further expressions on the same object of the same image (``img_path`` and ``ann_id``) get the same result, so
    transforms that draw at random or that depend on the expression belong after this one. Objects of an image share its
    pixels. Each worker keeps its own objects.

    Args:
        transforms: Such as loading the image and its annotations, and resizing.
        keep: Number of objects to keep, the first ones; further ones are prepared each time.

    Raises:
        UserError: ``keep`` is less than 1.
    """

    def __init__(self, transforms: Sequence[dict], keep: int) -> None:
        if keep < 1:
            raise UserError(f'PreparedOnce: keep is the number of objects to keep, 1 or more, not {keep}.')
        self.prepare = Compose(list(transforms))
        self.keep = keep
        self._items: dict[tuple[str, str], dict[str, Any]] = {}
        self._images: dict[str, np.ndarray] = {}

    def transform(self, results: dict) -> dict | None:
        """Needs what the first of the transforms needs; adds what they add, in copies that may be modified."""
        key = (results['img_path'], str(results.get('ann_id', results.get('sent_id'))))
        item = self._items.get(key)
        if item is None:
            prepared = self.prepare(dict(results))
            if prepared is None or len(self._items) >= self.keep:
                return prepared
            item = self._items[key] = self._kept(results, prepared)
        return results | {name: _copy(value) for name, value in item.items()}

    def _kept(self, results: dict, prepared: dict) -> dict[str, Any]:
        """What the transforms added or changed."""
        item = {name: value for name, value in prepared.items() if name not in results or results[name] is not value}
        if 'img' in item:
            shared = self._images.setdefault(results['img_path'], item['img'])
            if np.array_equal(shared, item['img']):
                item['img'] = shared
        return {name: _Masks.of(value) if isinstance(value, BitmapMasks) else value for name, value in item.items()}

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transforms={self.prepare}, keep={self.keep})'


def _copy(value: Any) -> Any:
    if isinstance(value, _Masks):
        return value.unpack()
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.clone() if hasattr(value, 'clone') else value

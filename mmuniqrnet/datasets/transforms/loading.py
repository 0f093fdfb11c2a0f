from collections import OrderedDict
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets.transforms import LoadAnnotations

from mmuniqrnet.registry import TRANSFORMS
from mmuniqrnet.structures.masks import is_polygon, mask_to_box, to_rle, with_text_counts
from mmuniqrnet.utils.errors import UserError


@TRANSFORMS.register_module()
class LoadReferAnnotations(LoadAnnotations):
    """Loads the boxes and masks of an expression's objects, or only one kind if the item lacks the other.

    It sets ``has_box`` and ``has_mask``, so that losses ignore what is not annotated. Polygons and both kinds of RLE
    are converted to bitmaps. The rest is mmdet's ``LoadAnnotations``.

    Args:
        with_mask: Whether to load masks; False loads boxes only, which saves the time to decode masks.
    """

    def __init__(self, with_mask: bool = True) -> None:
        super().__init__(with_bbox=True, with_label=True, with_mask=with_mask)

    def transform(self, results: dict) -> dict:
        """Needs ``instances`` and ``ori_shape``; adds ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_masks``, the flags."""
        instances = results['instances']
        has_box = all(instance.get('bbox') is not None for instance in instances)
        has_mask = self.with_mask and all(instance.get('mask') is not None for instance in instances)
        if instances and not has_box and not has_mask:
            raise UserError(
                f'{results.get("img_path")}, expression {results.get("text")!r} (sent_id {results.get("sent_id")}): it '
                'has neither a box nor a mask' + ('.' if self.with_mask else ' that with_mask=False would load.')
            )
        # mmdet's loader requires both keys in every instance; the originals stay unchanged for the metric.
        height, width = results['ori_shape']
        if has_mask:
            masks = [self._readable(instance['mask'], results) for instance in instances]
        # Without boxes, those around the masks take their place, so that a crop keeps the object: no box is trained on.
        blank = dict(size=[height, width], counts=[height * width])
        loaded = super().transform(
            dict(
                results,
                instances=[
                    dict(
                        bbox=instance['bbox'] if has_box else mask_to_box(masks[i]),
                        bbox_label=0,
                        ignore_flag=0,
                        mask=masks[i] if has_mask else blank,
                    )
                    for i, instance in enumerate(instances)
                ],
            )
        )
        loaded.update(instances=instances, has_box=has_box, has_mask=has_mask)
        return loaded

    @staticmethod
    def _readable(mask: list | dict, results: dict) -> list | dict:
        """The mask as mmdet reads it: with an RLE's counts as str, where pycocotools gives bytes."""
        height, width = results['ori_shape']
        named = f'{results.get("img_path")}, expression {results.get("text")!r} (sent_id {results.get("sent_id")})'
        if isinstance(mask, list):
            if not mask or not all(map(is_polygon, mask)):
                raise UserError(
                    f'{named}: its mask is neither polygons of three or more points nor an RLE; fix or remove it.'
                )
            return mask
        if not {'size', 'counts'} <= mask.keys():
            raise UserError(
                f'{named}: its mask is neither polygons of three or more points nor an RLE; fix or remove it.'
            )
        if tuple(mask['size']) != (height, width):
            raise UserError(
                f'{named}: its mask is {mask["size"][0]} x {mask["size"][1]} (height x width), the image '
                f'{height} x {width}; if the image was turned by its EXIF tag, '
                "load it with color_type='color_ignore_orientation'."
            )
        try:
            return with_text_counts(to_rle(mask, height, width))
        except UserError as error:
            raise UserError(f'{named}: {error}.') from None


@TRANSFORMS.register_module()
class LoadImageOnce(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile``, which keeps the last images, so that further expressions on them need no decoding.

    Use it with ``SameImageSampler``, which gives all expressions of an image one after another, or let it keep all
    images of a small data set. Each worker keeps its own images.

    Args:
        keep: Number of images that are kept in memory, those used last.
        to_float32, color_type, imdecode_backend, file_client_args, ignore_empty, backend_args: As in
            ``LoadImageFromFile``; give ``color_type='color_ignore_orientation'``, since annotations refer to the
            stored pixels.
    """

    def __init__(self, *args: Any, keep: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if keep < 1:
            raise UserError(f'LoadImageOnce: keep is the number of images to keep, 1 or more, not {keep}.')
        self.keep = keep
        self._images: OrderedDict[str, np.ndarray] = OrderedDict()  # by path, the one used last at the end

    def transform(self, results: dict) -> dict | None:
        """Needs ``img_path``; adds ``img`` (a copy that may be modified), ``img_shape`` and ``ori_shape``."""
        path = results['img_path']
        image = self._images.get(path)
        if image is None:
            loaded = super().transform(results)
            if loaded is None:
                return None
            image = self._images[path] = loaded['img']
            if len(self._images) > self.keep:
                self._images.popitem(last=False)
        else:
            self._images.move_to_end(path)
        results['img'] = image.copy()
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

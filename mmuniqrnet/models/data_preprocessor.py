from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmuniqrnet.registry import MODELS
from mmuniqrnet.structures.moving import moved
from mmuniqrnet.structures.shared_images import IMAGE_ROW, find_same_images
from mmuniqrnet.utils.errors import UserError


@MODELS.register_module()
class ReferDataPreprocessor(DetDataPreprocessor):
    """Normalises images and places each on a canvas of fixed size, as QRNet's recipe does.

    Normalisation comes first, so that the padding is zero after it. The position (top, left) is stored in the metainfo
    as ``canvas_offset``, for :class:`mmuniqrnet.structures.Placement`. In training, the ground truth is moved likewise.

    Args:
        canvas_size: Side of the square canvas, or its (height, width), in pixels.
        placement: Position of the images in training: ``'random'``, ``'center'`` or ``'corner'`` (top left).
        test_placement: The same for validation and test.
        mean: Pixel mean of the channels, in 0..255, in the order after ``bgr_to_rgb``.
        std: Pixel standard deviation likewise.
        bgr_to_rgb: Whether to turn BGR images (OpenCV's order) into RGB.
        non_blocking: Whether to copy to the device asynchronously.
        share_images: Whether the expressions of a batch share images that have the same pixels: ``inputs`` then has
            each of these once, with one place on the canvas, and the metainfo ``image_row`` of each sample is the row
            of its image. The network computes once an image what does not depend on the text.

    Raises:
        ValueError: If an image is larger than the canvas.
    """

    def __init__(
        self,
        canvas_size: int | Sequence[int] = 640,
        placement: str = 'random',
        test_placement: str = 'center',
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        bgr_to_rgb: bool = True,
        non_blocking: bool = False,
        share_images: bool = False,
    ) -> None:
        super().__init__(mean=mean, std=std, bgr_to_rgb=bgr_to_rgb, non_blocking=non_blocking)
        for name in (placement, test_placement):
            if name not in ('random', 'center', 'corner'):
                raise UserError(f"ReferDataPreprocessor: a placement is 'random', 'center' or 'corner', not {name!r}.")
        self.canvas_size = (canvas_size, canvas_size) if isinstance(canvas_size, int) else tuple(canvas_size)
        self.placement = placement
        self.test_placement = test_placement
        self.share_images = share_images

    def forward(self, data: dict, training: bool = False) -> dict:
        """B uint8 images [3, h, w] in ``inputs``, and ``data_samples`` -> ``inputs`` [B, 3, H, W], ``data_samples``.

        With ``share_images``, ``inputs`` is [I, 3, H, W], the I distinct images.
        """
        data_samples = data.get('data_samples') or [DetDataSample() for _ in data['inputs']]
        rows = list(range(len(data_samples)))
        if self.share_images:
            # Before the copy to the device, because a comparison there would wait for it.
            rows = find_same_images(data['inputs'], data_samples)
            data = dict(data, inputs=[data['inputs'][rows.index(row)] for row in range(max(rows) + 1)])
        data = self.cast_data(dict(data, data_samples=data_samples))
        data_samples, images = data['data_samples'], data['inputs']
        samplelist_boxtype2tensor(data_samples)
        placement = self.placement if training else self.test_placement
        places = [self._place(image.shape[-2], image.shape[-1], placement) for image in images]
        for row, sample in zip(rows, data_samples):
            sample.set_metainfo(
                dict(
                    img_shape=tuple(images[row].shape[-2:]),
                    canvas_offset=places[row],
                    batch_input_shape=self.canvas_size,
                    pad_shape=self.canvas_size,
                )
            )
            if self.share_images:
                sample.set_metainfo({IMAGE_ROW: row})
            if training:
                self._move_truth(sample, *places[row])
        return dict(inputs=self._normalised(images, places), data_samples=data_samples)

    def cast_data(self, data: Any) -> Any:
        """The data on the model's device, as mmengine's method gives it, but metainfo is shared instead of copied."""
        if isinstance(data, BaseDataElement):
            return moved(data, self.device, bool(self._non_blocking))
        return super().cast_data(data)

    def _normalised(self, images: Sequence[Tensor], places: Sequence[tuple[int, int]]) -> Tensor:
        """Images [3, h, w] at their places (top, left) on the canvas, which is zero elsewhere: [B, 3, H, W]."""
        # Normalise the whole batch at once: for small images, the calls would take longer than the arithmetic.
        inside = None
        if all(tuple(image.shape[-2:]) == self.canvas_size for image in images):
            canvas = torch.stack(list(images))
        else:
            canvas = images[0].new_zeros((len(images), 3, *self.canvas_size))
            inside = images[0].new_zeros((len(images), 1, *self.canvas_size), dtype=torch.bool)
            for i, (image, (top, left)) in enumerate(zip(images, places)):
                height, width = image.shape[-2:]
                canvas[i, :, top : top + height, left : left + width] = image
                inside[i, :, top : top + height, left : left + width] = True
        if self._channel_conversion:
            canvas = canvas.flip(1)
        canvas = (canvas.float() - self.mean) / self.std
        return canvas if inside is None else canvas.masked_fill_(~inside, 0)

    def _place(self, height: int, width: int, placement: str) -> tuple[int, int]:
        free = (self.canvas_size[0] - height, self.canvas_size[1] - width)
        if min(free) < 0:
            raise UserError(
                f'ReferDataPreprocessor: an image of {height} x {width} (height x width) does not fit the canvas of '
                f'{self.canvas_size[0]} x {self.canvas_size[1]}; resize to at most that in the pipeline '
                f"(dict(type='mmdet.Resize', scale=..., keep_ratio=True)) or raise canvas_size."
            )
        if placement == 'corner':
            return 0, 0
        if placement == 'center':
            return free[0] // 2, free[1] // 2
        top, left = (int(torch.randint(n + 1, ())) for n in free)
        return top, left

    def _move_truth(self, sample: DetDataSample, top: int, left: int) -> None:
        truth = sample.get('gt_instances')
        if truth is None:
            return
        if 'bboxes' in truth:
            truth.bboxes = truth.bboxes + truth.bboxes.new_tensor([left, top, left, top])
        if 'masks' in truth and (truth.masks.height, truth.masks.width) != self.canvas_size:
            bitmaps = np.zeros((len(truth.masks), *self.canvas_size), dtype=np.uint8)
            bitmaps[:, top : top + truth.masks.height, left : left + truth.masks.width] = truth.masks.to_ndarray()
            truth.masks = BitmapMasks(bitmaps, *self.canvas_size)

"""The test pipeline of a config, for images that are files, arrays or PIL images."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmdet.structures import DetDataSample
from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS
from PIL import Image
from torch import Tensor

from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.orientation import ExifOrientation, Orientation, read_orientation, turn_upright

# Image files: a file with another suffix that cannot be read is reported as "not an image", not as damaged.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')

# The flags with which mmcv decodes without turning the image, which is turned here for all decoders and formats.
AS_STORED = {'color': 'color_ignore_orientation', 'grayscale': 'grayscale_ignore_orientation'}

ImageInput: TypeAlias = str | Path | np.ndarray | Image.Image


class ImageError(Exception):
    """An image that cannot be read; the message is one sentence."""


class PreparedImage(NamedTuple):
    """An image, prepared as input of the data preprocessor.

    Attributes:
        inputs: uint8 [3, h, w], BGR.
        data_sample: Its metainfo says where the image came from and how it was resized; ``frame`` is
            ``'upright'`` or ``'stored'``, see :class:`ImagePipeline`.
        picture: The decoded image before the other transforms, RGB uint8 [H, W, 3].
    """

    inputs: Tensor
    data_sample: DetDataSample
    picture: np.ndarray


class ImagePipeline:
    """A config's test pipeline for images that are files, arrays or PIL images.

    Files are decoded by the transform of the config, with its options, and then turned as their EXIF orientation says,
    or left as they are stored. For images in memory, only the loading is replaced; an array has no orientation.
    Transforms that load the ground truth are removed.

    Args:
        pipeline: Configs of the transforms, the loading of the image first.

    Raises:
        UserError: If the first transform loads no image.
    """

    def __init__(self, pipeline: Sequence[dict]) -> None:
        # LoadImageOnce would return its stored image even if the file changed between two questions.
        once, plain = 'LoadImageOnce', 'LoadImageFromFile'
        configs = [dict(step, type=plain) if str(step['type']).split('.')[-1] == once else step for step in pipeline]
        steps = [step for step in map(TRANSFORMS.build, configs) if not isinstance(step, LoadAnnotations)]
        if not steps or not isinstance(steps[0], LoadImageFromFile):
            raise UserError(
                'the test pipeline does not begin with LoadImageFromFile or LoadImageOnce, so '
                'images cannot be passed to it.'
            )
        self.load = steps[0]
        if self.load.imdecode_backend != 'turbojpeg':  # it never turns images, and does not accept these flags
            self.load.color_type = AS_STORED.get(self.load.color_type, self.load.color_type)
        self.rest = Compose(steps[1:])

    def __call__(self, image: ImageInput, expression: str, orientation: Orientation = 'upright') -> PreparedImage:
        """Decode and prepare one image.

        Args:
            image: A file, an array (RGB uint8 [H, W, 3]) or a PIL image.
            expression: One of the expressions about the image; the transforms need a text.
            orientation: ``'upright'`` turns the image as its EXIF orientation says; ``'stored'`` does not, as in
                ``tools/test.py``, since annotations refer to the stored pixels. (Every decoder turns TIFF files
                upright.)

        Raises:
            ImageError: If it can't be read.
        """
        exif = ExifOrientation(1, applied=False)
        if isinstance(image, str | Path):
            results = self._read(str(image))
            exif = _exif(image, orientation)
        elif isinstance(image, Image.Image):
            exif = _exif(image, orientation)  # before decoding, because Pillow then removes the tag of a TIFF
            results = self._take(_checked(_from_pil(image)))
        else:
            results = self._take(_checked(image))
        if orientation == 'upright' and exif.value != 1 and not exif.applied:
            turned = turn_upright(results['img'], exif.value)
            results |= dict(img=turned, img_shape=turned.shape[:2], ori_shape=turned.shape[:2])
        stored = orientation == 'stored' and (exif.value == 1 or not exif.applied)
        picture = np.ascontiguousarray(results['img'][..., ::-1].astype(np.uint8))
        try:
            packed = self.rest(dict(results, text=expression))
        except Exception as error:  # transforms may be custom and images of any shape, so any error is possible
            raise ImageError(
                f'the image of {picture.shape[1]} x {picture.shape[0]} pixels (width x height) cannot '
                f'be processed by the test pipeline: {type(error).__name__}: {_first(error)}.'
            ) from error
        packed['data_samples'].set_metainfo(dict(frame='stored' if stored else 'upright'))
        return PreparedImage(packed['inputs'], packed['data_samples'], picture)

    def _read(self, path: str) -> dict:
        if '://' in path:
            raise ImageError(f'{path} is a URL; download it first, because only files are read.')
        if not Path(path).is_file():
            raise ImageError(f'there is no image {path}.')
        try:
            results = self.load(dict(img_path=path))
        except Exception as error:  # AssertionError if mmcv decoded nothing; others come from the file system
            known = Path(path).suffix.lower() in SUFFIXES
            what = 'is damaged, or not an image' if known else 'is not an image that can be read'
            why = '' if isinstance(error, AssertionError) else f' ({type(error).__name__}: {_first(error)})'
            raise ImageError(f'{path} {what}{why}.') from error
        if results is None:
            raise ImageError(f'{path} is damaged, or not an image.')
        return results

    def _take(self, image: np.ndarray) -> dict:
        """The results that the loading transform would give for this RGB image."""
        bgr = np.ascontiguousarray(image[..., ::-1])
        bgr = bgr.astype(np.float32) if self.load.to_float32 else bgr
        return dict(img=bgr, img_shape=bgr.shape[:2], ori_shape=bgr.shape[:2])


def _exif(image: str | Path | Image.Image, orientation: Orientation) -> ExifOrientation:
    try:
        return read_orientation(image)
    except UserError as error:
        if orientation == 'stored':
            return ExifOrientation(1, applied=False)
        raise ImageError(str(error)) from None


def _from_pil(image: Image.Image) -> np.ndarray:
    if image.mode == 'F' or image.mode.startswith('I'):
        raise ImageError(
            f"the PIL image is of mode '{image.mode}', whose range of values is not fixed; convert it to 'RGB'."
        )
    try:
        return np.asarray(image.convert('RGB'))
    except Exception as error:  # PIL decodes the image only here
        raise ImageError(f'the PIL image cannot be decoded ({type(error).__name__}: {_first(error)}).') from error


def _checked(image: np.ndarray) -> np.ndarray:
    wanted = 'an image in memory should be a PIL image, or a uint8 array [height, width, 3] in RGB order'
    if not isinstance(image, np.ndarray):
        raise ImageError(f'{wanted}; this is of type {type(image).__name__}.')
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ImageError(f'{wanted}; this is {image.dtype} {list(image.shape)}.')
    return image


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [''])[0].rstrip('.')

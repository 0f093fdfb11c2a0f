"""Image files: their headers, and a check that they can be decoded completely, as in training."""

import os
import sys
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from mmengine.utils import ProgressBar
from PIL import Image

from mmuniqrnet.utils.errors import MissingFileError, UserError
from mmuniqrnet.utils.orientation import read_orientation

Result = TypeVar('Result')


class Picture(NamedTuple):
    """The properties of an image file, from its header.

    Attributes:
        width: Width of the stored image in pixels, before any EXIF rotation.
        height: Height of the stored image in pixels.
        mode: Pillow's mode.
        orientation: The EXIF orientation, 1 to 8; 1 = upright, or none is given.
    """

    width: int
    height: int
    mode: str
    orientation: int

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height are exchanged when the picture is shown upright."""
        return self.orientation >= 5


def check_picture(path: str, whole: bool = True) -> Picture:
    """Open an image file, and decode all of it unless ``whole`` is False.

    Raises:
        FileNotFoundError: It does not exist.
        UserError: It is not an image, is cut off, or OpenCV, which loads images in training, cannot decode it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about damaged EXIF and large pictures
            with Image.open(path) as image:
                if not whole:
                    return Picture(image.width, image.height, image.mode, _orientation(image))
                image.load()
                return _decoded(path, image)
    except FileNotFoundError:
        raise MissingFileError(f'the image {path} does not exist') from None
    except UserError:
        raise
    except Exception as error:  # Pillow raises many types for malformed files
        raise UserError(f'{path} is not a readable image ({error})') from None


def _decoded(path: str, image: Image.Image) -> Picture:
    pixels = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise UserError(f'{path} ({image.format}) cannot be decoded by OpenCV, which training uses: save it as PNG')
    # For TIFF, OpenCV and Pillow always apply the orientation, whatever their options.
    return Picture(pixels.shape[1], pixels.shape[0], image.mode, _orientation(image))


def _orientation(image: Image.Image) -> int:
    found = read_orientation(image)
    return 1 if found.applied else found.value


def in_parallel(work: Callable[[str], Result], paths: Iterable[str]) -> dict[str, Result]:
    """The result of ``work`` for each path; in threads, with a progress bar on stderr if that is a terminal."""
    distinct = list(dict.fromkeys(paths))
    bar = ProgressBar(len(distinct), file=sys.stderr) if distinct and sys.stderr.isatty() else None
    results = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for path, result in zip(distinct, pool.map(work, distinct)):
            results[path] = result
            if bar is not None:
                bar.update()
    if bar is not None:
        sys.stderr.write('\n')
    return results

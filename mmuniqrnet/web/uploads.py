"""Reading what people upload, before it can do harm."""

import warnings
from pathlib import Path

import mmcv
import numpy as np
from PIL import Image, UnidentifiedImageError

from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.orientation import read_orientation, turn_upright

MAX_MEGABYTES = 20
MAX_MEGAPIXELS = 24
MAX_ASPECT = 20
LIMITS = f'at most {MAX_MEGABYTES} MB and {MAX_MEGAPIXELS} megapixels'


def read_upload(path: str | Path | None, name: str | None = None) -> np.ndarray:
    """A picture file as people see it: turned as its EXIF tag says, without transparency.

    Args:
        path: The file, decoded by what the training and test pipelines decode with; None = none was given.
        name: What the user calls it; the file's own name if not given.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        UserError: There is no picture, it can't be read, or it is too large; that is seen before it is decoded.
    """
    if path is None:
        raise UserError('There is no picture yet: upload one, or choose an example.')
    name = name or Path(path).name
    if not Path(path).is_file():
        raise UserError(f'{name} is not here any more: upload it again.')
    if (megabytes := Path(path).stat().st_size / 2**20) > MAX_MEGABYTES:
        raise UserError(f'{name} has {megabytes:.0f} MB: a picture may have {LIMITS}; save a smaller one.')
    width, height = _size(path, name)
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise UserError(f'{name} is {width} x {height} pixels: a picture may have {LIMITS}; save a smaller one.')
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UserError(
            f'{name} is {width} x {height} pixels: one side may be at most {MAX_ASPECT} times the other; cut it.'
        )
    try:
        picture = mmcv.imfrombytes(Path(path).read_bytes(), flag='color_ignore_orientation', backend='cv2')
    except Exception:  # a file cut off in the middle: mmcv or OpenCV, each in its own words
        picture = None
    if picture is None:
        raise _unreadable(name)
    exif = read_orientation(path)
    return turn_upright(picture[..., ::-1], 1 if exif.applied else exif.value)


def _size(path: str | Path, name: str) -> tuple[int, int]:
    """Width and height from the file's head."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)  # far above our own limit
            with Image.open(path) as head:
                return head.size
    except Image.DecompressionBombError:
        raise UserError(f'{name} has too many pixels: a picture may have {LIMITS}; save a smaller one.') from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise _unreadable(name) from None


def _unreadable(name: str) -> UserError:
    return UserError(f'{name} can not be read as a picture: save it as PNG, JPEG or WebP and upload that.')

"""The EXIF orientation of photographs: reading it, and turning the stored pixels upright."""

import warnings
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from PIL import Image

from .errors import UserError
from .few_reads import FewReads

Orientation: TypeAlias = Literal['upright', 'stored']
TAG = 0x0112
# The chunks in which a PNG may store its orientation: EXIF, EXIF as text, XMP.
PNG_MARKS = (b'eXIf', b'Raw profile type exif', b'XML:com.adobe.xmp')


class ExifOrientation(NamedTuple):
    """How the pixels of an image are stored.

    Attributes:
        value: 1 to 8, as EXIF defines them; 1 = upright, or no tag, or one that cannot be read.
        applied: Whether decoders always apply it, whatever their options: OpenCV and Pillow do so for TIFF.
    """

    value: int
    applied: bool


def check_orientation(orientation: str) -> None:
    """Check that this is one of the values of ``Orientation``.

    Raises:
        UserError: If it is not.
    """
    if orientation not in get_args(Orientation):
        raise UserError(f"orientation should be 'upright' or 'stored', not {orientation!r}.")


def read_orientation(image: str | Path | bytes | Image.Image) -> ExifOrientation:
    """The EXIF orientation of an image file, of the content of one (bytes), or of a PIL image.

    A tag that is damaged, or has a value that EXIF does not define, is ignored, as all decoders do.

    Raises:
        UserError: The file has so many pixels that Pillow refuses to open it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about damaged EXIF and large pictures
            if isinstance(image, Image.Image):
                return _of_pil(image)
            with Image.open(FewReads(image) if isinstance(image, bytes) else image) as opened:
                if opened.format == 'PNG' and not _has_mark(image if isinstance(image, bytes) else Path(image)):
                    return ExifOrientation(1, False)  # to find it, Pillow would decode the whole file
                return _of_pil(opened)
    except Image.DecompressionBombError:
        name = 'the image' if isinstance(image, bytes) else image
        raise UserError(
            f"{name} has too many pixels for its EXIF orientation to be read; use orientation='stored', "
            'or make it smaller.'
        ) from None
    except Exception:  # Pillow raises many types for damaged EXIF; decoding, which comes later, finds damaged images
        return ExifOrientation(1, False)


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels [H, W, ...], turned as viewers show them; H and W are exchanged for the orientations 5 to 8."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _of_pil(image: Image.Image) -> ExifOrientation:
    value = image.getexif().get(TAG, 1)
    known = isinstance(value, int) and 1 <= value <= 8
    return ExifOrientation(value if known else 1, applied=image.format == 'TIFF')


def _has_mark(image: Path | bytes) -> bool:
    content = image if isinstance(image, bytes) else image.read_bytes()
    return any(mark in content for mark in PNG_MARKS)

"""Reading what people upload, before it can do harm."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import mmcv
import numpy as np
from PIL import Image

from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.few_reads import FewReads
from mmuniqrnet.utils.orientation import read_orientation, turn_upright

# Not every format that Pillow knows: for some it runs other programs, and a TIFF may have tiles larger than itself.
FORMATS = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP')
# A progressive JPEG has about ten scans, and each is a pass over all pixels; a file may have a million.
MAX_SCANS, MAX_SEGMENTS = 50, 2000
MARKER = re.compile(rb'\xff([\x02-\xcf\xd9-\xfe])')  # neither stuffing nor a marker without length, but for the end
START_OF_SCAN, END_OF_IMAGE = b'\xda', b'\xd9'
PNG_START, MAX_CHUNKS = b'\x89PNG\r\n\x1a\n', 100_000


@dataclass(frozen=True)
class PictureLimits:
    """Limits on an uploaded picture.

    Attributes:
        megabytes: Size of the file, in units of 2^20 bytes.
        megapixels: Width times height, in units of 10^6 pixels.
        aspect: The longer side divided by the shorter one.
    """

    megabytes: float = 20
    megapixels: float = 24
    aspect: float = 20

    def __str__(self) -> str:
        return f'at most {self.megabytes:g} MB and {self.megapixels:g} megapixels'


PAGE_LIMITS = PictureLimits()


def read_upload(path: str | Path | None, name: str | None = None, limits: PictureLimits = PAGE_LIMITS) -> np.ndarray:
    """A picture file as people see it, see :func:`decode_picture`; None = none was given.

    Raises:
        UserError: There is no picture, it can't be read, or it is too large; that is seen before it is decoded.
    """
    if path is None:
        raise UserError('There is no picture yet: upload one, or choose an example.')
    name = name or Path(path).name
    if not Path(path).is_file():
        raise UserError(f'{name} is not here any more: upload it again.')
    check_bytes(Path(path).stat().st_size, name, limits)
    return decode_picture(Path(path).read_bytes(), name, limits)


def check_bytes(size: int, name: str, limits: PictureLimits) -> None:
    """Check the size of a file in bytes.

    Raises:
        UserError: It is too large.
    """
    if (megabytes := size / 2**20) > limits.megabytes:
        raise UserError(f'{name} has {megabytes:.0f} MB: a picture may have {limits}; save a smaller one.')


def picture_size(content: bytes, name: str, limits: PictureLimits = PAGE_LIMITS) -> tuple[int, int]:
    """Width and height of a picture as it is stored, from the file's header; nothing is decoded.

    Args:
        content: The file.
        name: What the user calls it.
        limits: What it may be.

    Raises:
        UserError: It is no picture, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large pictures, for which we have a limit, and of damaged metadata
            with Image.open(FewReads(content), formats=FORMATS) as head:
                width, height = head.size
                kind = head.format
    except Image.DecompressionBombError:
        raise UserError(f'{name} has too many pixels: a picture may have {limits}; save a smaller one.') from None
    except Exception:  # Pillow raises many types for files that were damaged on purpose
        raise _unreadable(name) from None
    if width * height > limits.megapixels * 1e6:
        raise UserError(f'{name} is {width} x {height} pixels: a picture may have {limits}; save a smaller one.')
    if min(width, height) < 1:
        raise _unreadable(name)
    if max(width, height) > limits.aspect * min(width, height):
        raise UserError(
            f'{name} is {width} x {height} pixels: one side may be at most {limits.aspect:g} times the other; cut it.'
        )
    if kind in CHECKS and not CHECKS[kind](content):
        raise _unreadable(name)
    return width, height


def decode_picture(content: bytes, name: str, limits: PictureLimits = PAGE_LIMITS) -> np.ndarray:
    """A picture as people see it: turned as its EXIF tag says, without transparency.

    Args:
        content: The file, decoded by what the training and test pipelines decode with.
        name: What the user calls it.
        limits: What it may be.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        UserError: See :func:`picture_size`; or the file is damaged.
    """
    size = picture_size(content, name, limits)
    try:
        picture = mmcv.imfrombytes(content, flag='color_ignore_orientation', backend='cv2')
    except Exception:  # a file cut off in the middle: mmcv or OpenCV, each in its own words
        picture = None
    # A file may be made so that two decoders see two sizes.
    if picture is None or sorted(picture.shape[:2]) != sorted(size):
        raise _unreadable(name)
    exif = read_orientation(content)
    return turn_upright(picture[..., ::-1], 1 if exif.applied else exif.value)


def _has_few_scans(content: bytes) -> bool:
    """Whether a JPEG has as many scans and other segments as one that was made to be looked at.

    What comes after its end, such as the film of a phone's "motion photo", is not looked at.
    """
    place = scans = segments = 0
    while (found := MARKER.search(content, place)) and found[1] != END_OF_IMAGE:
        scans, segments = scans + (found[1] == START_OF_SCAN), segments + 1
        if scans > MAX_SCANS or segments > MAX_SEGMENTS:
            return False
        place = found.end() + max(2, int.from_bytes(content[found.end() : found.end() + 2], 'big'))
    return True


def _has_whole_chunks(content: bytes) -> bool:
    """Whether the chunks of a PNG are as long as they say, and it is not animated.

    OpenCV takes the memory for a chunk before it sees that the file is shorter: up to 2 GB, which takes seconds.
    """
    place = len(PNG_START)
    for _ in range(MAX_CHUNKS):
        length, kind = int.from_bytes(content[place : place + 4], 'big'), content[place + 4 : place + 8]
        place += 12 + length
        if place > len(content) or kind == b'acTL':
            return False
        if kind == b'IEND':
            return True
    return False


CHECKS = dict(JPEG=_has_few_scans, MPO=_has_few_scans, PNG=_has_whole_chunks)


def _unreadable(name: str) -> UserError:
    return UserError(f'{name} can not be read as a picture: save it as PNG, JPEG or WebP and upload that.')

"""Mask files: images, in which the object is every pixel that is not black, and ``.mat`` files of SAIAPR TC-12."""

import numpy as np
from PIL import Image
from scipy.io import loadmat

from mmuniqrnet.utils.errors import MissingFileError, UserError

from .masks import encode_mask

# No mode with an alpha channel, because it does not define whether opaque or transparent pixels are the object.
MASK_MODES = ('1', 'L', 'P', 'I', 'I;16', 'RGB')
# Formats with lossy compression change colours, so that black pixels may become another colour.
LOSSLESS = ('PNG', 'BMP', 'TIFF', 'GIF', 'PPM')
WHITE = (255, 65535)


def read_mask_file(path: str, height: int | None = None, width: int | None = None) -> dict:
    """Read a mask file as a compressed RLE.

    Args:
        path: ``.mat`` of SAIAPR TC-12 (``segimg_t``, zero on the object), or an image (not black on the object).
        height: Height of the image in pixels; None skips the check of the size.
        width: Width of the image in pixels; None skips the check of the size.

    Raises:
        FileNotFoundError: If there is no such file.
        UserError: If it is not a mask, is empty, is not of the image's size, or has several colours besides black.
    """
    try:
        if path.endswith('.mat'):
            mask = np.asarray(loadmat(path, variable_names=['segimg_t'], appendmat=False)['segimg_t']) == 0
            mask = mask.any(axis=-1) if mask.ndim == 3 else mask
        else:
            with Image.open(path) as image:
                image.load()
                mask = object_pixels(image)
    except FileNotFoundError:
        raise MissingFileError(f'The mask {path} does not exist.') from None
    except UserError as error:
        raise UserError(f'The mask {path} {error}.') from None
    except Exception as error:  # scipy and PIL raise many types for malformed files
        raise UserError(f'{path} is not a readable mask ({type(error).__name__}: {error}).') from None
    if height is not None and width is not None and mask.shape != (height, width):
        raise UserError(f'The mask {path} is {mask.shape[1]}x{mask.shape[0]} pixels, but its image {width}x{height}.')
    if not mask.any():
        raise UserError(f'The mask {path} is empty.')
    return encode_mask(mask)


def object_pixels(image: Image.Image) -> np.ndarray:
    """The pixels of a mask image that are not black, bool [H, W].

    The object has one colour, or is white with soft (grey) edges, which belong to it. Several other colours may be
    several objects, or an object and a "void" border, so the object is not known.

    Raises:
        UserError: If there are several colours, or transparent pixels; the message continues "The mask FILE ...".
    """
    if image.format not in (None, *LOSSLESS):
        raise UserError(f'is a {image.format}, whose compression changes colours: save it as PNG')
    if image.mode not in MASK_MODES:
        raise UserError(f'has mode {image.mode}: save it with one channel, in which everything but the object is black')
    if image.mode == 'P':
        return _of_palette(image)
    pixels = np.asarray(image)
    if pixels.ndim == 3:
        if not (pixels == pixels[..., :1]).all():
            packed = (pixels.astype(np.uint32) * np.array([65536, 256, 1], np.uint32)).sum(-1)
            colours = np.unique(packed[packed > 0])
            if len(colours) > 1:
                raise UserError(_several([f'#{colour:06x}' for colour in colours]))
            return packed > 0
        pixels = pixels[..., 0]
    _check_greys(*np.unique(pixels, return_counts=True))
    return pixels != 0


def _of_palette(image: Image.Image) -> np.ndarray:
    """The object's pixels, found by the colours of the palette, because the index of black is not always 0."""
    indices = np.asarray(image)
    used, counts = np.unique(indices, return_counts=True)
    strip = Image.new('P', (256, 1))
    strip.putpalette(image.palette)
    strip.putdata(range(256))
    colours = np.asarray(strip.convert('RGB'))[0]
    is_object = colours.any(axis=-1)
    transparent = image.info.get('transparency')
    if transparent is not None:
        opaque = np.ones(256, dtype=bool)
        if isinstance(transparent, bytes):
            alpha = np.frombuffer(transparent, np.uint8)
            opaque[: len(alpha)] = alpha > 0
        else:
            opaque[transparent] = False
        if (is_object & ~opaque)[used].any():
            raise UserError('has transparent pixels that are not black: save it with one channel, black and white')
    if used.any() and not is_object[used].any():
        raise UserError('has a palette with no colour but black: save it with one channel, black and white')
    distinct = np.unique(colours[used][is_object[used]], axis=0)
    if len(distinct) > 1:
        if not (distinct == distinct[:, :1]).all():
            raise UserError(_several([f'#{red:02x}{green:02x}{blue:02x}' for red, green, blue in distinct]))
        greys = colours[used, 0]
        _check_greys(greys, counts)
    return is_object[indices]


def _check_greys(values: np.ndarray, counts: np.ndarray) -> None:
    """Refuse several grey values, unless white is the most frequent: then the others are soft edges."""
    levels: dict[int, int] = {}
    for value, count in zip(values.tolist(), counts.tolist()):
        if value:
            levels[value] = levels.get(value, 0) + count
    if len(levels) > 1 and max(levels, key=lambda level: levels[level]) not in WHITE:
        raise UserError(_several([str(level) for level in sorted(levels)]))


def _several(colours: list[str]) -> str:
    shown = ', '.join(colours[:4]) + (', ...' if len(colours) > 4 else '')
    return (
        f'has {len(colours)} colours besides black ({shown}), so which of them is the object is not known: make the '
        'object white and everything else black'
    )

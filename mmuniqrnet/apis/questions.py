"""What the inferencer is asked: which images, and which expressions about each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

# What a folder is searched for.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')

ImageInput = str | Path | np.ndarray | Image.Image


def list_images(inputs: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
    """The images one by one, with folders replaced by the files in them, in the order of their names.

    Hidden files and subfolders are passed over; any other file is listed, though it may turn out to be no image.

    Raises:
        ValueError: If there is none.
    """
    given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if not given:
        raise ValueError('inputs is an empty list; give one image or more.')
    images: list[ImageInput] = []
    for image in given:
        if not isinstance(image, str | Path) or not Path(image).is_dir():
            images.append(image)
            continue
        files = sorted(path for path in Path(image).iterdir() if path.is_file() and not path.name.startswith('.'))
        if not files:
            raise ValueError(f'the folder {image} has no file in it.')
        images.extend(str(path) for path in files)
    return images


def pair(images: Sequence[ImageInput], expressions: str | Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """The expressions about each of the images.

    Args:
        images: As :func:`list_images` gives them.
        expressions: One, asked of every image; or a list: with one image all asked of it, with several one for each
            (an expression, or a list of them).

    Raises:
        ValueError: If the lengths disagree.
        TypeError: If an expression is no str.
    """
    if isinstance(expressions, str):
        return [[expressions] for _ in images]
    if not isinstance(expressions, list | tuple):
        raise TypeError(
            f'expressions is a str, a list of str, or a list of lists of str, not a {type(expressions).__name__}.'
        )
    if len(images) == 1 and all(isinstance(expression, str) for expression in expressions):
        return [list(expressions)]
    if len(expressions) != len(images):
        raise ValueError(
            f'there are {len(images)} images and expressions for {len(expressions)}; give one entry an '
            'image (a str, or a list of str), or one str for all.'
        )
    paired = [[entry] if isinstance(entry, str) else entry for entry in expressions]
    for index, entry in enumerate(paired):
        if not isinstance(entry, list | tuple) or not all(isinstance(expression, str) for expression in entry):
            raise TypeError(f'the expressions of image {index} are {entry!r}; they should be a str or a list of str.')
    return [list(entry) for entry in paired]

"""Scenes of RefShapes as single PNG files, which say in their metadata what they are."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

KEY, SCENE = 'mmuniqrnet', 'scene of RefShapes'
SIGNATURE = b'\x89PNG\r\n\x1a\n'


def write_scene(path: str | Path, picture: np.ndarray) -> None:
    """Write a scene, BGR uint8 [H, W, 3], as PNG."""
    note = PngInfo()
    note.add_text(KEY, SCENE)
    Image.fromarray(picture[..., ::-1]).save(path, format='PNG', pnginfo=note)


def is_scene(image: Any) -> bool:
    """Whether an image, a path or a PIL image, is a PNG that :func:`write_scene` wrote; False for what is no image."""
    if isinstance(image, Image.Image):
        return _says_so(image.info)
    if not isinstance(image, str | Path):
        return False
    try:
        if not Path(image).is_file():  # what is read from a pipe is gone
            return False
        with open(image, 'rb') as file:
            if file.read(len(SIGNATURE)) != SIGNATURE:
                return False
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # the decoder warns
            with Image.open(image, formats=['PNG']) as opened:  # decodes no pixels
                return _says_so(opened.info)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # the decoder reports what is wrong
        return False


def _says_so(info: Mapping[Any, Any]) -> bool:
    return info.get(KEY) == SCENE

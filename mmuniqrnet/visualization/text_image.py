"""Text in any script as an image, wrapped to a width.

Pillow draws the text and shapes the letters. Wrapping and the choice of fonts are our own code: Pillow takes one font
for a text and does not wrap it; matplotlib (before 3.11) neither joins Arabic letters nor writes them from right to
left, and breaks lines only between words, which cuts Chinese off; OpenCV has ASCII only.
"""

import math
import unicodedata
import warnings
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

# part of matplotlib, which mmengine requires, so it exists on every machine
DEJAVU = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf'
MARGIN = 6


def text_image(text: str, width: int, size: int) -> np.ndarray:
    """Black text on white, wrapped between words, and within words that are wider than the image.

    Args:
        text: Any Unicode; white space counts as one space. A character that no installed font has is drawn as an empty
            box, with a warning.
        width: Width of the image in pixels.
        size: Font size in pixels.

    Returns:
        RGB uint8 [h, w, 3]: h is the height of the text, 0 if there is none; w is ``width``, or more if a single
        character is wider.
    """
    if not text.strip():
        return np.zeros((0, width, 3), np.uint8)
    lines = wrap(text, width - 2 * MARGIN, lambda line: _length(line, size))
    width = max(width, *(math.ceil(_length(line, size)) + 2 * MARGIN for line in lines))
    spacing = round(1.4 * size)
    image = Image.new('RGB', (width, spacing * len(lines) + MARGIN), 'white')
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        x, baseline = float(MARGIN), number * spacing + MARGIN // 2 + round(1.1 * size)
        for run, font in _runs(line, size):
            draw.text((x, baseline), run, font=font, fill='black', anchor='ls')
            x += font.getlength(run)
    return np.array(image)


def wrap(text: str, width: float, length: Callable[[str], float]) -> list[str]:
    """Split ``text`` into lines of at most ``width``, as measured by ``length``; a line has at least one character."""
    lines = ['']
    for word in text.split():
        longer = f'{lines[-1]} {word}'.strip()
        if length(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append('')
        for character in word:
            if lines[-1] and length(lines[-1] + character) > width:
                lines.append('')
            lines[-1] += character
    return lines


def _length(line: str, size: int) -> float:
    return sum(font.getlength(run) for run, font in _runs(line, size))


def _runs(line: str, size: int) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """The line in parts that are drawn with one font each."""
    paths: list[Path] = []
    for character in line:
        # combining marks and joiners are shaped together with the character before them
        attached = paths and (character.isspace() or unicodedata.category(character) in ('Mn', 'Me', 'Cf'))
        paths.append(paths[-1] if attached else _font_path(character))
    runs = groupby(zip(line, paths), key=lambda pair: pair[1])
    return [(''.join(character for character, _ in pairs), _font(path, size)) for path, pairs in runs]


@lru_cache(maxsize=64)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


@lru_cache(maxsize=4096)
def _font_path(character: str) -> Path:
    """The first installed font that has the character; DejaVu Sans, with a warning, if there is none."""
    if ord(character) in _characters(DEJAVU):
        return DEJAVU
    # 'Last Resort' fonts have one placeholder for each script, but no letters
    installed = [path for entry in fontManager.ttflist if not (path := Path(entry.fname)).name.startswith('LastResort')]
    for path in installed:
        if ord(character) in _characters(path):
            return path
    warnings.warn(
        f'no installed font has {character!r} (U+{ord(character):04X}), so pictures show an empty box instead; '
        'install a font for its script, such as Noto Sans',
        stacklevel=2,
    )
    return DEJAVU


@cache
def _characters(path: Path) -> frozenset[int]:
    try:
        ImageFont.truetype(str(path), 16)  # fails for bitmap fonts such as coloured emoji
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()

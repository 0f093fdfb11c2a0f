"""Text in any script as pixels: OpenCV's fonts have ASCII only."""

import unicodedata
import warnings
from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

# matplotlib, which mmengine needs, brings it along, so it is there on every machine
DEJAVU = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf'
MARGIN = 6


def text_block(text: str, width: int, size: int) -> np.ndarray:
    """Black text on white, wrapped between words, and within a word that is wider than the block.

    Args:
        text: Any Unicode; runs of white space count as one space. A character that no installed font has is drawn as
            an empty box, with a warning.
        width: Of the block, in pixels.
        size: Of the font, in pixels.

    Returns:
        RGB uint8 [h, w, 3]. h is as much as the text needs; w is ``width``, or more where not even one character fits.
    """
    rows = wrap(text, width - 2 * MARGIN, lambda row: _length(row, size))
    # the widest row, for one character may be wider than asked for
    width = max([width, *(int(np.ceil(_length(row, size))) + 2 * MARGIN for row in rows)])
    line = round(1.4 * size)
    block = Image.new('RGB', (width, line * len(rows) + MARGIN), 'white')
    draw = ImageDraw.Draw(block)
    for number, row in enumerate(rows):
        x, baseline = float(MARGIN), number * line + MARGIN // 2 + round(1.1 * size)
        for run, font in _runs(row, size):
            draw.text((x, baseline), run, font=font, fill='black', anchor='ls')
            x += font.getlength(run)
    return np.array(block)


def wrap(text: str, width: float, length: Callable[[str], float]) -> list[str]:
    """Rows of ``text`` no longer than ``width``, as ``length`` measures them; at least one character a row."""
    rows = ['']
    for word in text.split():
        longer = f'{rows[-1]} {word}'.strip()
        if length(longer) <= width:
            rows[-1] = longer
            continue
        if rows[-1]:
            rows.append('')
        for character in word:
            if rows[-1] and length(rows[-1] + character) > width:
                rows.append('')
            rows[-1] += character
    return rows


def _length(row: str, size: int) -> float:
    return sum(font.getlength(run) for run, font in _runs(row, size))


def _runs(row: str, size: int) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """The row in pieces of one font each."""
    paths: list[Path] = []
    for character in row:
        # marks and joiners shape the character before them, so they must stay in its run
        attached = paths and (character.isspace() or unicodedata.category(character) in ('Mn', 'Me', 'Cf'))
        paths.append(paths[-1] if attached else _font_for(character))
    pieces = groupby(zip(row, paths), key=lambda pair: pair[1])
    return [(''.join(character for character, _ in pairs), _font(path, size)) for path, pairs in pieces]


@lru_cache(maxsize=64)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


@lru_cache(maxsize=4096)
def _font_for(character: str) -> Path:
    if ord(character) in _characters(DEJAVU):
        return DEJAVU
    from matplotlib.font_manager import fontManager  # looks through the machine's fonts: slow the first time

    for entry in fontManager.ttflist:
        path = Path(entry.fname)
        if path.name.startswith('LastResort'):  # it has a sign for every script, but no letters
            continue
        if ord(character) in _characters(path):
            return path
    warnings.warn(
        f'no installed font has {character!r} (U+{ord(character):04X}), so pictures show an empty box for '
        'it; install a font of its script, such as Noto Sans'
    )
    return DEJAVU


@lru_cache(maxsize=None)
def _characters(path: Path) -> frozenset[int]:
    try:
        ImageFont.truetype(str(path), 16)  # bitmap fonts, such as those of coloured emoji, have no such size
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()

"""The page's words as HTML; whatever comes from people is escaped."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .palette import COLOURS, css, ink

HEADINGS = ('', 'Phrase', 'Score', 'Answer', 'x1', 'y1', 'x2', 'y2', 'Mask')


def heading(about: str) -> str:
    return f'<h1>mmuniqrnet</h1><p>Type what you mean, get its box and its mask. Model: {_text(about)}.</p>'


def answer_table(predictions: Sequence[Mapping[str, Any]], below: float, masks: Sequence[Path | None]) -> str:
    """Legend and table in one: number and colour, phrase, score, refused or not, box in pixels, the mask to download.

    Args:
        predictions: The inferencer's dictionaries.
        below: What they were refused by.
        masks: A PNG file for each, or None.
    """
    head = ''.join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    numbers = range(1, len(predictions) + 1)
    rows = ''.join(_row(*row, below) for row in zip(numbers, predictions, COLOURS, masks))
    return (
        f'<table class="answers"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        '<p class="note">Boxes are in pixels of the picture, from its top left corner. The score is the overlap '
        '(IoU) that the model expects its box to have with the right one.</p>'
    )


def _row(
    number: int, prediction: Mapping[str, Any], colour: tuple[int, int, int], mask: Path | None, below: float
) -> str:
    style = f'background:{css(colour)};color:{css(ink(colour))}'
    start = f'<td><span class="chip" style="{style}">{number}</span></td><td>{_text(prediction["expression"])}</td>'
    if 'error' in prediction:
        return f'<tr class="failed">{start}<td colspan="7">{_text(prediction["error"])}</td></tr>'
    score, box = prediction['score'], prediction['box'] or [None] * 4
    kind, verdict = ('refused', f'refused, below {below:.2f}') if prediction['refused'] else ('found', 'found')
    return (
        f'<tr class="{kind}">{start}{_number(score, 3)}<td>{verdict}</td>'
        f'{"".join(_number(value, 1) for value in box)}<td>{"–" if mask is None else _link(mask)}</td></tr>'
    )


def _number(value: float | None, digits: int) -> str:
    return f'<td class="number">{"–" if value is None else f"{value:.{digits}f}"}</td>'


def _link(file: Path) -> str:
    # The file itself is in the link: a page that is left open can still save it when the file is gone.
    return f'<a download="{_text(file.name)}" href="{_address(file.read_bytes())}">PNG</a>'


def gate_figures(maps: Sequence[tuple[np.ndarray, str]]) -> str:
    """Heat maps (RGB uint8), each over its caption."""
    figures = []
    for picture, caption in maps:
        file = BytesIO()
        Image.fromarray(picture).save(file, 'PNG')
        figures.append(
            f'<figure><img src="{_address(file.getvalue())}" alt="{_text(caption)}">'
            f'<figcaption>{_text(caption)}</figcaption></figure>'
        )
    return f'<div class="gates">{"".join(figures)}</div>'


def _address(png: bytes) -> str:
    return f'data:image/png;base64,{b64encode(png).decode("ascii")}'


def error_line(sentence: str) -> str:
    return f'<p class="error" role="alert">{_text(sentence)}</p>'


def status_line(count: int, name: str, seconds: float, unknown: Sequence[str] = (), cut: Sequence[int] = ()) -> str:
    """How many phrases were asked, which words mean nothing to the model, and which phrases it read in part only."""
    line = f'{count} phrase{"s" if count != 1 else ""} asked of {_text(name)}, in {seconds:.1f} s.'
    if unknown:
        words = ', '.join(f'“{_text(word)}”' for word in unknown)
        line += f' <strong>This model has no word for {words}</strong>, so it can only guess.'
    if cut:
        line += f' <strong>Too long</strong>, so that the model did not read the end: {", ".join(map(str, cut))}.'
    return f'<p class="status" role="status">{line}</p>'


def _text(text: str) -> str:
    # Gradio's HTML component fills in ${...} and {{...}}
    return escape(str(text)).replace('{', '&#123;').replace('$', '&#36;')

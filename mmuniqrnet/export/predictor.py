"""Boxes and masks from an exported UniQRNet, with onnxruntime: no torch, no mm* package, no OpenCV.

This file needs numpy, Pillow, tokenizers and onnxruntime, but no other file of this package, so it can be copied.
An export contains it, next to the model:

    python predictor.py [--orientation stored] IMAGE "EXPRESSION" ["EXPRESSION" ...]
"""

import argparse
import json
import math
import sys
import unicodedata
import warnings
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from PIL import Image

ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray


class Placed(NamedTuple):
    """An image, prepared as input of the network.

    Attributes:
        canvas: [3, H, W] float32, normalised, zero where there is no image.
        window: Where the image lies on the canvas: x1, y1, x2, y2 in canvas pixels.
        ori_shape: (height, width) of the original image.
        frame: ``'upright'`` or ``'stored'``, see :func:`read_image`.
    """

    canvas: np.ndarray
    window: tuple[int, int, int, int]
    ori_shape: tuple[int, int]
    frame: str = 'upright'


class OnnxPredictor:
    """Predicts the box and the mask of the object that an expression refers to.

    Args:
        folder: The folder that ``tools/export.py`` wrote, with ``model.onnx``, ``tokenizer.json`` and
            ``preprocess.json``. By default the folder of this file.
        threads: Number of threads of onnxruntime; None = its default.
        providers: onnxruntime's execution providers, the preferred one first.

    Raises:
        FileNotFoundError: If the folder lacks one of the files.
        ValueError: If they were written for a later version of this file.
    """

    def __init__(
        self,
        folder: str | Path = Path(__file__).parent,
        threads: int | None = None,
        providers: Sequence[str] = ('CPUExecutionProvider',),
    ) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        folder = Path(folder)
        self.name = str(folder)
        for name in ('model.onnx', 'tokenizer.json', 'preprocess.json'):
            if not (folder / name).is_file():
                raise FileNotFoundError(f'{folder} has no {name}; give the folder that tools/export.py wrote.')
        self.settings = json.loads((folder / 'preprocess.json').read_text(encoding='utf-8'))
        if self.settings['format'] != 1:
            raise ValueError(
                f'{folder / "preprocess.json"} has format {self.settings["format"]}, but this predictor '
                'reads format 1; use the predictor.py of the same export.'
            )
        self.tokenizer = Tokenizer.from_file(str(folder / 'tokenizer.json'))
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = options.inter_op_num_threads = threads
        words = self.settings.get('words')
        self.known = None if words is None else set(words_of(self._normalized(words)))
        self.session = onnxruntime.InferenceSession(str(folder / 'model.onnx'), options, providers=list(providers))
        self.outputs = [output.name for output in self.session.get_outputs()]

    def __call__(
        self,
        image: ImageLike,
        expressions: str | Sequence[str],
        batch_size: int = 16,
        refuse_below: float | None = None,
        orientation: str = 'upright',
    ) -> list[dict[str, Any]]:
        """One answer per expression, in order.

        Args:
            image: A file, a PIL image, or an **RGB** uint8 array [H, W, 3].
            expressions: One expression, or several.
            batch_size: How many expressions go through the network at once.
            refuse_below: An answer whose score is lower is refused; by default the value stored in the export.
            orientation: ``'upright'`` turns the image as its EXIF orientation says; ``'stored'`` does not.

        Returns:
            Dictionaries: ``image`` (the path, or 0), ``image_index`` (0), ``expression``, ``size`` [H, W], ``frame``
            (``'upright'`` or ``'stored'``: what size, box and mask refer to), ``box`` [x1, y1, x2, y2] in pixels,
            ``score``, ``refused``, ``mask``, the COCO API's compressed RLE, and ``unknown_words``, those of the
            expression that are not in the network's training text or have no token (None if the export has no list of
            the training text's words and every word has a token); ``model``, the folder. ``box`` and ``mask`` are None
            if the answer is refused or the network has no such branch.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not an image, an expression is empty, ``batch_size`` is not positive, or
                ``refuse_below`` is not from 0 to 1.
        """
        if batch_size < 1:
            raise ValueError(f'batch_size should be a positive number of expressions, not {batch_size}.')
        expressions = [expressions] if isinstance(expressions, str) else list(expressions)
        for i, expression in enumerate(expressions):
            if not isinstance(expression, str) or not expression.strip():
                raise ValueError(f'expression {i} is empty or not a string: {expression!r}.')
        if refuse_below is None:
            refuse_below = self.settings['refuse_below']
        elif not 0 <= refuse_below <= 1:
            raise ValueError(f'refuse_below should be a number from 0 to 1, not {refuse_below}.')
        placed = self.place(image, orientation)
        name = str(image) if isinstance(image, (str, Path)) else 0
        answers = []
        for start in range(0, len(expressions), batch_size):
            batch = expressions[start : start + batch_size]
            values = self.session.run(self.outputs, self.inputs(placed, batch))
            for i, expression in enumerate(batch):
                out = {key: value[i] for key, value in zip(self.outputs, values)}
                question = dict(image=name, image_index=0, expression=expression)
                answer = self._answer(out, placed, refuse_below)
                answers.append(question | answer | dict(unknown_words=self.unknown_words(expression), model=self.name))
        return answers

    def place(self, image: ImageLike, orientation: str = 'upright') -> Placed:
        """Read, resize, normalise and put on the canvas, as the test pipeline did."""
        pixels, frame = read_image(image, orientation)
        settings = self.settings['image']
        height, width = settings['canvas_size']
        new = new_size(pixels.shape[:2], settings['scale'], settings['keep_ratio'])
        resized = resize_image(pixels, new)
        if settings['channels'] == 'BGR':
            resized = resized[..., ::-1]
        if new[0] > height or new[1] > width:
            raise ValueError(
                f'an image of {new[0]} x {new[1]} (height x width, after resizing) does not fit the '
                f'canvas of {height} x {width}.'
            )
        top, left = ((height - new[0]) // 2, (width - new[1]) // 2) if settings['placement'] == 'center' else (0, 0)
        mean, std = (np.array(settings[key], dtype=np.float32) for key in ('mean', 'std'))
        canvas = np.zeros((3, height, width), dtype=np.float32)
        canvas[:, top : top + new[0], left : left + new[1]] = ((resized - mean) / std).transpose(2, 0, 1)
        return Placed(canvas, (left, top, left + new[1], top + new[0]), pixels.shape[:2], frame)

    def inputs(self, placed: Placed, expressions: Sequence[str]) -> dict[str, np.ndarray]:
        """The inputs of the graph, for expressions about one image; texts are padded to the longest of them."""
        encoded = self.tokenizer.encode_batch(list(expressions))
        batch = len(expressions)
        return dict(
            image=np.repeat(placed.canvas[None], batch, axis=0),
            input_ids=np.array([e.ids for e in encoded], dtype=np.int64),
            attention_mask=np.array([e.attention_mask for e in encoded], dtype=np.int64),
            window=np.array([placed.window] * batch, dtype=np.int64),
        )

    def unknown_words(self, expression: str) -> list[str] | None:
        """The words of an expression that are not in the training text, or have no token, as they were typed."""
        unknown: list[str] = []
        for chunk in expression.split():
            words, typed = words_of(self._normalized(chunk)), words_of(chunk)
            typed = typed if len(typed) == len(words) else words
            found = [
                typed[i]
                for i, word in enumerate(words)
                if (self.known is not None and word not in self.known) or self._has_no_token(typed[i])
            ]
            bare = strip_punctuation(chunk)
            unknown += found or ([bare] if bare and self._has_no_token(bare) else [])
        return list(dict.fromkeys(unknown)) if unknown or self.known is not None else None

    def _has_no_token(self, text: str) -> bool:
        token = getattr(self.tokenizer.model, 'unk_token', None)
        return token is not None and token in self.tokenizer.encode(text, add_special_tokens=False).tokens

    def _normalized(self, text: str) -> str:
        normalizer = self.tokenizer.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)

    def _answer(self, out: dict[str, np.ndarray], placed: Placed, refuse_below: float | None) -> dict[str, Any]:
        height, width = placed.ori_shape
        x1, y1, x2, y2 = placed.window
        score = float(out.get('scores', 1.0))
        refused = refuse_below is not None and score < refuse_below
        box = mask = None
        if 'boxes' in out and not refused:
            canvas_height, canvas_width = placed.canvas.shape[1:]
            corners = out['boxes'].astype(np.float64).reshape(2, 2) * (canvas_width, canvas_height)
            corners = (corners - (x1, y1)) * (width / (x2 - x1), height / (y2 - y1))
            box = np.clip(corners, 0, (width, height)).flatten().tolist()
        if 'mask_logits' in out and not refused:
            logits = resize_map(out['mask_logits'][0], placed.canvas.shape[1:])[y1:y2, x1:x2]
            threshold = self.settings['mask_threshold']
            mask = encode_rle(resize_map(logits, placed.ori_shape) > math.log(threshold / (1 - threshold)))
        return dict(size=[height, width], frame=placed.frame, box=box, score=score, refused=refused, mask=mask)


def words_of(text: str) -> list[str]:
    """The words of a text: sequences of letters, digits and marks; everything else separates them."""
    runs = groupby(text, lambda character: unicodedata.category(character)[0] in 'LMN')
    return [''.join(run) for is_word, run in runs if is_word]


def strip_punctuation(text: str) -> str:
    """The text without the punctuation at both ends."""
    return text.strip(''.join(character for character in text if unicodedata.category(character)[0] == 'P'))


def read_rgb(image: ImageLike, orientation: str = 'upright') -> np.ndarray:
    """[H, W, 3] uint8, see :func:`read_image`."""
    return read_image(image, orientation)[0]


def read_image(image: ImageLike, orientation: str = 'upright') -> tuple[np.ndarray, str]:
    """[H, W, 3] uint8, RGB, and which frame it is in: ``'upright'`` or ``'stored'``.

    With ``'upright'`` the image is turned as its EXIF orientation says, with ``'stored'`` it is not, unless it is a
    TIFF file, which Pillow always turns. An array has no orientation. A damaged tag is ignored.
    """
    if orientation not in ('upright', 'stored'):
        raise ValueError(f"orientation should be 'upright' or 'stored', not {orientation!r}.")
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f'an array has to be RGB, uint8 and [H, W, 3]; this is {image.dtype} {list(image.shape)}.')
        return image, orientation
    if isinstance(image, (str, Path)):
        path = Path(image)
        if not path.is_file():
            raise FileNotFoundError(f'there is no image {path}.')
        try:
            with Image.open(path) as opened:
                return read_image(opened, orientation)
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f'{path} is not an image that Pillow can read: {error}.') from None
    value, applied = exif_orientation(image), image.format == 'TIFF'
    if image.mode.startswith('I;16'):  # Pillow would clip 16-bit values at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    pixels = np.asarray(image.convert('RGB'))
    if value == 1 or applied:
        return pixels, orientation if value == 1 else 'upright'
    if orientation == 'stored':
        return pixels, 'stored'
    if value >= 5:
        pixels = pixels.swapaxes(0, 1)
    if value in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if value in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels), 'upright'


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 = upright, or no tag, or one that cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            value = image.getexif().get(0x0112, 1)
    except Exception:  # Pillow raises many types of errors for damaged EXIF
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def new_size(shape: Sequence[int], scale: Sequence[int], keep_ratio: bool) -> tuple[int, int]:
    """(height, width) after resizing to ``scale`` (width, height), as mmcv rounds it."""
    height, width = shape
    if not keep_ratio:
        return scale[1], scale[0]
    factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    return int(height * factor + 0.5), int(width * factor + 0.5)


def resize_image(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """uint8 [H, W, 3] -> [h, w, 3], exactly as OpenCV's INTER_LINEAR: 11 bits of fraction, no antialiasing."""
    (height, width), (new_height, new_width) = image.shape[:2], shape
    if (height, width) == (new_height, new_width):
        return image
    pixels = image.astype(np.int32)
    if (height, width) == (2 * new_height, 2 * new_width):  # OpenCV takes the mean in this case
        return ((pixels.reshape(new_height, 2, new_width, 2, -1).sum((1, 3)) + 2) >> 2).astype(np.uint8)

    def taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        place = ((np.arange(new) + 0.5) * (1 / (new / old)) - 0.5).astype(np.float32)
        first = np.floor(place)
        return first.astype(np.int64), np.rint((1 - (place - first)) * 2048), np.rint((place - first) * 2048)

    first, w0, w1 = taps(width, new_width)
    beyond = (first < 0) | (first >= width - 1)
    first = np.clip(first, 0, width - 1)
    w0, w1 = (np.where(beyond, edge, w).astype(np.int32)[:, None] for w, edge in ((w0, 2048), (w1, 0)))
    rows = (pixels[:, first] * w0 + pixels[:, np.minimum(first + 1, width - 1)] * w1) >> 4
    first, w0, w1 = taps(height, new_height)
    upper, lower = (
        rows[np.clip(first + k, 0, height - 1)] * w.astype(np.int32)[:, None, None] >> 16 for k, w in ((0, w0), (1, w1))
    )
    return np.clip((upper + lower + 2) >> 2, 0, 255).astype(np.uint8)


def resize_map(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """float [H, W] -> [h, w], bilinearly with half-pixel centres: torch's ``interpolate(align_corners=False)``."""
    for axis, new in enumerate(shape):
        old = values.shape[axis]
        if old == new:
            continue
        place = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0)
        first = np.minimum(place.astype(np.int64), old - 1)
        weight = (place - first).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        values = (
            np.take(values, first, axis) * (1 - weight) + np.take(values, np.minimum(first + 1, old - 1), axis) * weight
        )
    return values


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """A mask [H, W] bool as the COCO API's compressed RLE: ``size`` [H, W] and ``counts``, a string."""
    flat = mask.flatten(order='F')
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    runs = [0, *runs] if flat[:1].any() else runs  # the first run is of zeros
    text = []
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:  # five bits per character, lowest first; bit 5 is set if more follow
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text.append(chr(48 + bits + 32 * more))
    return dict(size=list(mask.shape), counts=''.join(text))


def main() -> None:
    parser = argparse.ArgumentParser(description='Print the box and the mask of what expressions refer to, as JSON.')
    parser.add_argument('image', metavar='IMAGE')
    parser.add_argument('expressions', metavar='EXPRESSION', nargs='+')
    parser.add_argument(
        '--orientation',
        choices=('upright', 'stored'),
        default='upright',
        help='turn the image as its EXIF tag says, or take the pixels as they are stored (default: %(default)s)',
    )
    args = parser.parse_args()
    try:
        ask = OnnxPredictor()
        answers = ask(args.image, args.expressions, orientation=args.orientation)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    if ask.settings.get('made_for'):
        print(f'note: this model was made for {ask.settings["made_for"]}.', file=sys.stderr)
    print(json.dumps(answers, indent=2))


if __name__ == '__main__':
    main()

"""Run-length encodings (RLE) of COCO: checked here before decoding, because pycocotools does not check them.

pycocotools allocates a mask without clearing it and fills in the runs. If these do not add up to height x width, the
rest of the mask is uninitialized memory, or pycocotools writes beyond the end of the mask.
"""

from collections.abc import Mapping

import numpy as np

from mmuniqrnet.utils.errors import UserError

# The runs and the pixels of a mask are 32-bit numbers in pycocotools.
MAX_PIXELS = 2**32
# Characters of a number: 5 bits each, so 7 hold 32 bits and a sign.
MAX_CHARACTERS = 7


def run_lengths(rle: Mapping) -> np.ndarray:
    """The lengths of the runs, int64: alternately background and object, column by column, the background first.

    Args:
        rle: ``dict(size=[height, width], counts=...)``; ``counts`` is a list of lengths, or COCO's compressed string
            (str or bytes).

    Raises:
        UserError: It is not an RLE, or its runs do not add up to height x width pixels.
    """
    height, width = rle_size(rle)
    counts = rle.get('counts')
    if isinstance(counts, str | bytes):
        runs = _decompress(counts)
    elif isinstance(counts, list | tuple | np.ndarray) and all(map(_is_whole_type, set(map(type, counts)))):
        if len(counts) and not 0 <= min(counts) <= max(counts) < MAX_PIXELS:
            raise UserError('the "counts" of an RLE mask have a run that is negative or longer than any image')
        runs = np.array(counts, dtype=np.int64)
    else:
        raise UserError('an RLE mask should have "counts", a string or a list of whole numbers')
    total = int(runs.sum())
    if total != height * width:
        raise UserError(
            f'the "counts" of an RLE mask add up to {total} pixels, but its "size" [{height}, {width}] (height, width) '
            f'has {height * width}'
        )
    return runs


def rle_size(rle: Mapping) -> tuple[int, int]:
    """Height and width of an RLE.

    Raises:
        UserError: It has no valid size.
    """
    size = rle.get('size')
    if (
        not isinstance(size, list | tuple | np.ndarray)
        or len(size) != 2
        or not all(_is_whole_type(type(side)) and side >= 1 for side in size)
        or int(size[0]) * int(size[1]) >= MAX_PIXELS
    ):
        raise UserError('an RLE mask should have "size", [height, width] in pixels, two positive whole numbers')
    return int(size[0]), int(size[1])


def _is_whole_type(kind: type) -> bool:
    return issubclass(kind, int | np.integer) and kind is not bool


def _decompress(counts: str | bytes) -> np.ndarray:
    """The runs in COCO's compressed string.

    From the fourth on, a run is written as the difference from the run two before it. A number is stored in groups of
    5 bits, the lowest first.
    A character is 48 + the bits, + 32 if another group follows; bit 16 of the last group is the sign.
    """
    text = counts.encode('utf-8', 'replace') if isinstance(counts, str) else counts
    if text[:2] in (b"b'", b'b"'):
        raise UserError(
            'the "counts" of an RLE mask are bytes written as text ("b\'...\'"): write counts.decode("ascii"), not '
            'str(counts), into the file'
        )
    codes = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63:
        raise UserError('the "counts" of an RLE mask are not a string of COCO\'s: it has other characters, or none')
    ends = np.flatnonzero(codes < 32)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1 if ends.size else np.zeros(1, np.int64)
    if not ends.size or ends[-1] != codes.size - 1 or lengths.max() > MAX_CHARACTERS:
        raise UserError('the "counts" of an RLE mask are not a string of COCO\'s: it is cut off or damaged')
    within = np.arange(codes.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * within), starts)
    values -= ((codes[ends] & 16) > 0) * (np.int64(1) << (5 * lengths))
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0 or values.max() >= MAX_PIXELS:
        raise UserError('the "counts" of an RLE mask have a run that is negative or longer than any image')
    return values

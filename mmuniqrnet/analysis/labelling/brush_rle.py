"""The run-length encoding of brush strokes in Label Studio: that of the JavaScript library rle-pack.

A mask is four bytes a pixel (RGBA), row by row; alpha says what is covered. The bytes are packed into a stream of bits:
their number (32 bits), the width of a value - 1 (5 bits), four lengths of counts - 1 (4 bits each), and then groups. A
group is one bit (1: one value that is repeated, 0: values one by one), the index of a length of counts (2 bits), the
count - 1 in as many bits, and the value or values.
"""

from collections.abc import Sequence

import numpy as np

from mmuniqrnet.utils.errors import UserError

CHANNELS = 4
COUNT_BITS = (3, 4, 8, 16)
# Of alpha. At the edge of a stroke a pixel may be covered in part.
COVERED = 128


def encode_brush(mask: np.ndarray) -> list[int]:
    """A bool mask [H, W] as Label Studio's ``rle``: a list of bytes."""
    flat = np.asarray(mask, bool).ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [flat.size]])) * CHANNELS
    bits = [f'{flat.size * CHANNELS:032b}', f'{8 - 1:05b}', *(f'{size - 1:04b}' for size in COUNT_BITS)]
    for covered, length in zip(flat[starts].tolist(), lengths.tolist()):
        value = '1' * 8 if covered else '0' * 8
        while length:
            index = next((i for i, size in enumerate(COUNT_BITS) if length <= 1 << size), len(COUNT_BITS) - 1)
            count = min(length, 1 << COUNT_BITS[index])
            bits.append(f'1{index:02b}{count - 1:0{COUNT_BITS[index]}b}{value}')
            length -= count
    stream = ''.join(bits)
    stream += '0' * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, 'big'))


def decode_brush(rle: Sequence[int], height: int, width: int) -> np.ndarray:
    """Label Studio's ``rle`` as a bool mask [H, W]: the pixels with an alpha of 128 or more.

    Raises:
        UserError: It is not such an encoding, or of another size.
    """
    if not isinstance(rle, list) or not all(isinstance(byte, int) and 0 <= byte <= 255 for byte in rle) or not rle:
        raise UserError('"rle" should be a list of numbers from 0 to 255')
    bits = _Bits(rle)
    size = bits.read(32)
    if size != height * width * CHANNELS:
        raise UserError(f'"rle" has {size} values, but an image of {width}x{height} pixels has {CHANNELS} for each')
    word = bits.read(5) + 1
    if word != 8:
        raise UserError(f'"rle" has values of {word} bits instead of 8')
    count_bits = [bits.read(4) + 1 for _ in COUNT_BITS]
    values, position = np.zeros(size, np.uint8), 0
    while position < size:
        repeated = bits.read(1)
        end = position + 1 + bits.read(count_bits[bits.read(2)])
        if end > size:
            raise UserError('"rle" is damaged: it has more values than it says')
        values[position:end] = bits.read(8) if repeated else bits.read_bytes(end - position)
        position = end
    return values.reshape(height, width, CHANNELS)[..., -1] >= COVERED


class _Bits:
    """Reads numbers of any number of bits, the highest bit first."""

    def __init__(self, data: Sequence[int]) -> None:
        self._bits = np.unpackbits(np.array(data, np.uint8))
        self._position = 0

    def _next(self, count: int) -> np.ndarray:
        found = self._bits[self._position : self._position + count]
        if len(found) < count:
            raise UserError('"rle" is cut off')
        self._position += count
        return found

    def read(self, count: int) -> int:
        number = 0
        for bit in self._next(count).tolist():
            number = number << 1 | bit
        return number

    def read_bytes(self, count: int) -> np.ndarray:
        return np.packbits(self._next(8 * count))

import re

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.datasets.transforms import RandomFlip

from mmuniqrnet.registry import TRANSFORMS

_SWAP = {'left': 'right', 'leftmost': 'rightmost', 'lefthand': 'righthand', 'leftest': 'rightest', 'lefty': 'righty'}
_SWAP |= {right: left for left, right in _SWAP.items()}
_WORD = re.compile(r'\b(' + '|'.join(sorted(_SWAP, key=len, reverse=True)) + r')\b', re.IGNORECASE)


def swap_left_right(text: str) -> str:
    """Exchange left and right in an English expression: whole words only, each keeping its case.

    Twice is the identity. "bright" and "copyright" stay as they are.
    """

    def other(match: re.Match) -> str:
        word = match.group()
        swapped = _SWAP[word.lower()]
        if word.isupper():
            return swapped.upper()
        return swapped.capitalize() if word[0].isupper() else swapped

    return _WORD.sub(other, text)


@TRANSFORMS.register_module()
class RandomFlipWithText(BaseTransform):
    """Flips image, boxes and masks horizontally, and left and right in the expression along with them.

    An expression with letters that are not Latin is left alone, image included: what its words for left and right
    are is not known here. The flipping itself is mmdet's ``RandomFlip``, which ignores the text.

    Args:
        prob: How likely a flip is.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob
        self.flip = RandomFlip(prob=1.0, direction='horizontal')

    @cache_randomness
    def _flips(self) -> bool:
        return np.random.rand() < self.prob

    def transform(self, results: dict) -> dict:
        """Needs ``img`` and ``text``; sets ``flip`` and ``flip_direction``."""
        if not self._flips() or not results['text'].isascii() and _has_foreign_letters(results['text']):
            results.update(flip=False, flip_direction=None)
            return results
        results = self.flip(results)
        results['text'] = swap_left_right(results['text'])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'


def _has_foreign_letters(text: str) -> bool:
    return any(c.isalpha() and ord(c) > 0x24F for c in text)

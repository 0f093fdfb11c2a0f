"""Lengths of expressions, and how many of them a limit of tokens would cut."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from mmuniqrnet.utils.errors import UserError


@dataclass(frozen=True)
class TextLengths:
    """Lengths of expressions.

    Attributes:
        words: Number of words of each expression (separated by white space), int [N].
        tokens: Number of tokens, with [CLS] and [SEP], as ``TextEncoder(max_length)`` counts them, int [N].
        unknown: Number of tokens that the tokenizer does not know, int [N].
    """

    words: np.ndarray
    tokens: np.ndarray
    unknown: np.ndarray

    def cut(self, limit: int) -> int:
        """The number of expressions with more than ``limit`` tokens, which the text encoder would cut."""
        return int(np.count_nonzero(self.tokens > limit))


def text_lengths(expressions: Iterable[str], tokenizer: PreTrainedTokenizerBase, batch_size: int = 4096) -> TextLengths:
    """Count words and tokens of expressions.

    Raises:
        ValueError: There are no expressions.
    """
    texts: Sequence[str] = list(expressions)
    if not texts:
        raise UserError('there are no expressions to count.')
    tokens, unknown = [], []
    for start in range(0, len(texts), batch_size):
        for ids in tokenizer(texts[start : start + batch_size])['input_ids']:
            tokens.append(len(ids))
            unknown.append(sum(i == tokenizer.unk_token_id for i in ids))
    return TextLengths(np.array([len(text.split()) for text in texts]), np.array(tokens), np.array(unknown))

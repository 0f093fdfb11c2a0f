"""Text features, and the protocol of modules that take them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


class TextFeatures(NamedTuple):
    """The text encoder's output for B expressions: L tokens each, features of width D.

    Attributes:
        tokens: [B, L, D], one feature per token, [CLS] first.
        sentence: [B, D], one feature per expression.
        padding_mask: [B, L] bool, True where there is padding.
    """

    tokens: Tensor
    sentence: Tensor
    padding_mask: Tensor


@runtime_checkable
class SentenceConditioned(Protocol):
    """A backbone or neck whose ``forward(x, sentence=None)`` takes the sentence feature [B, D].

    It sets ``takes_sentence = True``; any other backbone or neck is called with images or maps only. Called without a
    sentence, it works as a plain backbone or neck, without gates.
    """

    takes_sentence: bool


def call_with_sentence(
    part: torch.nn.Module, x: Tensor | Sequence[Tensor], sentence: Tensor | None
) -> Sequence[Tensor]:
    """Call a backbone or neck, with the sentence if it takes one."""
    if getattr(part, 'takes_sentence', False):
        return part(x, sentence)
    return part(x)

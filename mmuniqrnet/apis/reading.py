"""What a network reads of an expression: where the text is cut, and which words the network does not know."""

import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Reading:
    """What a network reads of one expression.

    Attributes:
        tokens: How many tokens it has.
        kept: The part that the network reads, if the expression is too long; None = all of it.
        unknown: Its words that are not in the training text, or have no token, as they were typed. None = no list of
            the training text's words is known, and every word has a token.
    """

    tokens: int = 0
    kept: str | None = None
    unknown: list[str] | None = None

    @property
    def notes(self) -> list[str]:
        """Short notes for users; empty if all of the expression is read and known."""
        return unknown_notes(self.unknown) + ([] if self.kept is None else ['too long: its end is not read'])


class ExpressionReader:
    """Reads expressions as a text encoder does.

    Args:
        text_encoder: A ``TextEncoder``; for one without a ``tokenizer``, nothing is reported.
        words: The words of its training text, separated by white space, as ``tools/publish.py`` keeps them with the
            weights; None = not known.
    """

    def __init__(self, text_encoder: nn.Module, words: str | None = None) -> None:
        self.tokenizer: Any = getattr(text_encoder, 'tokenizer', None)
        self.max_length = getattr(text_encoder, 'max_length', None)
        backend = getattr(self.tokenizer, 'backend_tokenizer', None)
        self._normalizer = getattr(backend, 'normalizer', None)
        self.has_list = words is not None and self.tokenizer is not None
        self._known = set(words_of(self._normalized(words or '')))

    def __call__(self, expression: str) -> Reading:
        if self.tokenizer is None:
            return Reading()
        ids, kept = self.tokenizer(expression)['input_ids'], None
        if self.max_length is not None and len(ids) > self.max_length:
            cut = self.tokenizer(expression, truncation=True, max_length=self.max_length)['input_ids']
            kept = self.tokenizer.decode(cut, skip_special_tokens=True)
        unknown = [word for chunk in expression.split() for word in self._unknown_in(chunk)]
        return Reading(len(ids), kept, list(dict.fromkeys(unknown)) if unknown or self.has_list else None)

    def _unknown_in(self, chunk: str) -> list[str]:
        """The unknown words in a piece of text without white space."""
        words = words_of(self._normalized(chunk))
        typed = words_of(chunk)
        if len(typed) != len(words):
            typed = words
        found = [
            typed[i]
            for i, word in enumerate(words)
            if (self.has_list and word not in self._known) or self._has_no_token(typed[i])
        ]
        bare = strip_punctuation(chunk)
        return found or ([bare] if bare and self._has_no_token(bare) else [])  # a symbol, or a word with one

    def _has_no_token(self, text: str) -> bool:
        return self.tokenizer.unk_token is not None and self.tokenizer.unk_token in self.tokenizer.tokenize(text)

    def _normalized(self, text: str) -> str:
        if self._normalizer is not None:
            return self._normalizer.normalize_str(text)
        return text.lower() if getattr(self.tokenizer, 'do_lower_case', False) else text


def words_of(text: str) -> list[str]:
    """The words of a text: sequences of letters, digits and marks; everything else separates them."""
    runs = groupby(text, lambda character: unicodedata.category(character)[0] in 'LMN')
    return [''.join(run) for is_word, run in runs if is_word]


def strip_punctuation(text: str) -> str:
    """The text without the punctuation at both ends."""
    return text.strip(''.join(character for character in text if unicodedata.category(character)[0] == 'P'))


def unknown_notes(unknown: list[str] | None) -> list[str]:
    """A list with one note that names the unknown words; empty if there are none."""
    return [f'the model does not know {quoted(unknown)}'] if unknown else []


def quoted(words: list[str]) -> str:
    return ', '.join(f'“{word}”' for word in words)


def warn_of_unread(readings: Mapping[str, Reading], reader: ExpressionReader, made_for: str | None) -> None:
    """Warn about each expression that is cut, and once about all words that the network does not know.

    Args:
        readings: The readings, by expression.
        reader: The reader that made them.
        made_for: What the network was made for, if that is known.
    """
    for expression, reading in readings.items():
        if reading.kept is not None:
            warnings.warn(
                f'"{expression}" has {reading.tokens} tokens, and the network reads {reader.max_length} (max_length of '
                f'its text encoder): it reads only "{reading.kept}".',
                stacklevel=3,
            )
    unknown = list(dict.fromkeys(word for reading in readings.values() for word in reading.unknown or ()))
    if unknown:
        why = 'not in its training text' if reader.has_list else 'its tokenizer has no token for that'
        what = f' (made for {made_for})' if made_for else ''
        warnings.warn(
            f'the model{what} does not know {quoted(unknown)} ({why}); its answers to that are guesses.', stacklevel=3
        )


def text_of(meta: Mapping[str, Any], key: str) -> str | None:
    """An entry of a checkpoint's metadata, if it is a text and not empty."""
    value = meta.get(key)
    return value if isinstance(value, str) and value.strip() else None

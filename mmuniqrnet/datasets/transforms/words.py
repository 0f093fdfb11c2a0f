"""Sets of words and of their misspellings, and whether a text is written in Latin letters."""

import string
from collections.abc import Iterable


def words_of(text: str) -> frozenset[str]:
    """The words of a text that white space separates."""
    return frozenset(text.split())


def one_error_away(words: Iterable[str], english: Iterable[str]) -> frozenset[str]:
    """All strings that are one typing error away from one of ``words``, without ``words`` and ``english``.

    An error is a letter too much, too little or wrong, or two neighbours exchanged (the optimal string alignment
    distance 1). Expressions are compared with the result by ``isdisjoint``, which costs less than measuring distances.

    Args:
        words: Words in lower case.
        english: Correct words that differ from one of ``words`` by one error, such as "light" from "right".
    """
    words, near = set(words), set()
    for word in words:
        cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
        near |= {a + b[1:] for a, b in cuts if b}
        near |= {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
        near |= {a + c + b[1:] for a, b in cuts if b for c in string.ascii_lowercase}
        near |= {a + c + b for a, b in cuts for c in string.ascii_lowercase}
    return frozenset(near - words - set(english))


def has_foreign_letters(text: str) -> bool:
    """Whether the text has letters that are not Latin: its words for places are not known then."""
    return not text.isascii() and any(c.isalpha() and ord(c) > 0x24F for c in text)

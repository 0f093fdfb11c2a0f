"""Expressions that are longer than the network reads."""

import warnings
from collections.abc import Iterable

from torch import nn


def warn_of_cut_text(text_encoder: nn.Module, expressions: Iterable[str]) -> None:
    """Warn once of each expression that ``TextEncoder`` cuts at ``max_length``, and say what it keeps."""
    tokenizer, limit = (getattr(text_encoder, name, None) for name in ('tokenizer', 'max_length'))
    texts = list(dict.fromkeys(text for text in expressions if text.strip()))
    if tokenizer is None or limit is None or not texts:
        return
    for text, ids in zip(texts, tokenizer(texts)['input_ids']):
        if len(ids) > limit:
            kept = tokenizer.decode(
                tokenizer(text, truncation=True, max_length=limit)['input_ids'], skip_special_tokens=True
            )
            warnings.warn(
                f'"{text}" has {len(ids)} tokens, and the network reads {limit} (max_length of its text '
                f'encoder): it is asked for "{kept}".',
                stacklevel=3,
            )

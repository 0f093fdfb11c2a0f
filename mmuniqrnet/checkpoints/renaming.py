"""Rename tensors between two layouts by a table that works in both directions."""

import re
from collections.abc import Sequence


class Renaming:
    """Renames keys of state dicts by a table of templates.

    In a template, ``{i}`` stands for a number, and ``*`` at the end for any rest of the name. The first row that
    matches is used.

    Args:
        rows: Pairs of templates: (name in the other layout, our name).
    """

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        self.rows = tuple(rows)
        self._forward = [(_pattern(theirs), _format(ours)) for theirs, ours in rows]
        self._backward = [(_pattern(ours), _format(theirs)) for theirs, ours in rows]

    def forward(self, key: str) -> str | None:
        """The other layout's name -> ours, or None if no row matches."""
        return _rename(key, self._forward)

    def backward(self, key: str) -> str | None:
        """Our name -> the other layout's, or None if no row matches."""
        return _rename(key, self._backward)

    def prefixed(self, theirs: str, ours: str) -> 'Renaming':
        """The same table for a module inside another: with a prefix before the names of each layout."""
        return Renaming([(theirs + a, ours + b) for a, b in self.rows])

    def __add__(self, other: 'Renaming') -> 'Renaming':
        return Renaming([*self.rows, *other.rows])


def _pattern(template: str) -> re.Pattern:
    escaped = re.escape(template).replace(r'\*', r'(?P<rest>.+)')
    return re.compile(re.sub(r'\\\{(\w+)\\\}', r'(?P<\1>\\d+)', escaped))


def _format(template: str) -> str:
    return template.replace('*', '{rest}')


def _rename(key: str, rows: list[tuple[re.Pattern, str]]) -> str | None:
    for pattern, template in rows:
        match = pattern.fullmatch(key)
        if match is not None:
            return template.format(**match.groupdict())
    return None

"""Two layouts of the same tensors, as a table that reads in both directions."""

import re
from collections.abc import Sequence


class Renaming:
    """Renames keys of state dicts by a table of templates.

    A template names its numbers, ``{i}``, and ends with ``*`` where any rest may follow. The first row that fits wins.

    Args:
        rows: Pairs of templates, (theirs, ours).
    """

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        self.rows = tuple(rows)
        self._forward = [(_pattern(theirs), _format(ours)) for theirs, ours in rows]
        self._backward = [(_pattern(ours), _format(theirs)) for theirs, ours in rows]

    def forward(self, key: str) -> str | None:
        """Their name -> ours, or None if the table does not know it."""
        return _rename(key, self._forward)

    def backward(self, key: str) -> str | None:
        """Our name -> theirs, or None if the table does not know it."""
        return _rename(key, self._backward)

    def prefixed(self, theirs: str, ours: str) -> 'Renaming':
        """The same table of a part that lies deeper in both layouts."""
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

"""Tables for the console and for Markdown."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import prettytable

Rows = Sequence[Mapping[str, Any]]
# The enumeration was added in prettytable 3.12; before, its members were constants of the module.
STYLES = getattr(prettytable, 'TableStyle', prettytable)


def text_table(
    rows: Rows,
    columns: Sequence[str] | None = None,
    decimals: Mapping[str, int] | None = None,
    right: Collection[str] = (),
) -> str:
    """A table for the console, without borders: a line with the names of the columns, then one line per row.

    Args:
        rows: From column name to value. A float is written with 2 digits after the point, None or a missing key as
            ``-``. Without rows the table is empty text.
        columns: Which columns, in this order; None = all, in the order in which they first occur.
        decimals: Digits after the point, for columns whose floats have other than 2.
        right: Columns to align to the right although they hold text. Columns of numbers alone always are.
    """
    table = _table(rows, columns, decimals, right)
    table.border = False
    table.left_padding_width, table.right_padding_width = 0, 2
    return '\n'.join(line.rstrip() for line in table.get_string().splitlines())


def markdown_table(
    rows: Rows,
    columns: Sequence[str] | None = None,
    decimals: Mapping[str, int] | None = None,
    right: Collection[str] = (),
) -> str:
    """The same table in Markdown, with ``|`` in names and values escaped."""
    table = _table(rows, columns, decimals, right, escape=True)
    table.set_style(STYLES.MARKDOWN)
    return table.get_string()


def _table(
    rows: Rows,
    columns: Sequence[str] | None,
    decimals: Mapping[str, int] | None,
    right: Collection[str],
    escape: bool = False,
) -> prettytable.PrettyTable:
    if columns is None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
    digits = {name: (decimals or {}).get(name, 2) for name in columns}

    def text(value: Any, digits: int = 2) -> str:
        if isinstance(value, Real) and not isinstance(value, Integral):  # NumPy's scalars are no float
            written = f'{value:.{digits}f}'
        else:
            written = '-' if value is None else ' '.join(str(value).split())  # a cell is one line
        return written.replace('|', '\\|') if escape else written

    table = prettytable.PrettyTable([text(name) for name in columns])
    table.add_rows([[text(row.get(name), digits[name]) for name in columns] for row in rows])
    for name in columns:
        values = [row[name] for row in rows if row.get(name) is not None]
        numeric = bool(values) and all(isinstance(value, Real) for value in values)
        table.align[text(name)] = 'r' if numeric or name in right else 'l'
        table.min_width[text(name)] = 3 if escape else 1  # Markdown's separator line needs at least a dash and a colon
    return table

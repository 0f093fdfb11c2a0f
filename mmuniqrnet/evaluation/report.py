"""Evaluation figures as tables: for the console, as Markdown and as JSON; one row an evaluation set."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .protocols import PR_NAMES, PROTOCOLS

Row = dict[str, Any]

SET = 'set'
COLUMNS = (
    'N',
    'Acc@0.5',
    'box_mIoU',
    'oIoU',
    'mIoU',
    *PR_NAMES,
    'agreement',
    'box_mask_IoU',
    'gIoU',
    'cIoU',
    'N-acc',
    'T-acc',
    'AUROC',
    'ECE',
)
# told in the table only where they say something that N does not
PARTIAL_COUNTS = ('N_box', 'N_mask')
MARK = 'mmuniqrnet.evaluation.report/1'


def table_from_metrics(
    metrics: Mapping[str, float], extra: Mapping[str, Mapping[str, float | str]] | None = None
) -> list[Row]:
    """Rows, one an evaluation set and protocol, from metrics with keys ``{dataset}/{split}/{figure}``.

    Args:
        metrics: What ReferringMetric (and any other metric) returned. A figure of a published protocol,
            ``refcoco/val/cris_mIoU``, goes to a row of its own, ``refcoco/val (cris)``.
        extra: More columns, each a mapping from row name to value: ``{'text-blind Acc@0.5': {'refcoco/val': 31.5}}``.

    Raises:
        ValueError: ``extra`` names a row that there is not, or a column that is already there.
    """
    rows: dict[str, Row] = {}
    for key, value in metrics.items():
        name, _, figure = key.rpartition('/')
        # the longest, for 'cris_val_mIoU' is not 'val_mIoU' of cris
        protocol = max((known for known in PROTOCOLS if figure.startswith(f'{known}_')), key=len, default='')
        if protocol:
            name, figure = f'{name} ({protocol})', figure.removeprefix(f'{protocol}_')
        rows.setdefault(name, {SET: name})[figure] = value
    for row in rows.values():
        for count in PARTIAL_COUNTS:
            if row.get(count) == row.get('N'):
                row.pop(count, None)
    for column, values in (extra or {}).items():
        unknown = [name for name in values if name not in rows]
        if unknown:
            raise ValueError(f"extra column '{column}' has values for {unknown}, but the rows are {list(rows)}")
        for name, value in values.items():
            if column in rows[name]:
                raise ValueError(f"extra column '{column}' is already in the table")
            rows[name][column] = value
    return list(rows.values())


def to_text(rows: Sequence[Row]) -> str:
    """A table for the console: columns aligned, numbers to the right."""
    return '\n'.join('  '.join(cells).rstrip() for cells in _aligned(rows))


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    head, *body = _aligned(rows, escape=True)
    rule = ['-' * len(head[0]), *('-' * (len(cell) - 1) + ':' for cell in head[1:])]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in (head, rule, *body))


def to_json(rows: Sequence[Row], facts: Mapping[str, str] | None = None) -> str:
    """The rows, unrounded, and what is to be known about them, as JSON."""
    return json.dumps(dict(written_by=MARK, facts=dict(facts or {}), rows=list(rows)), ensure_ascii=False, indent=2)


def write_report(
    out_dir: str | Path,
    metrics: Mapping[str, float],
    extra: Mapping[str, Mapping[str, float | str]] | None = None,
    facts: Mapping[str, str] | None = None,
) -> tuple[Path, Path]:
    """Write ``results.json`` and ``results.md``; an earlier report of this kind is replaced.

    Args:
        out_dir: The folder; made where it is missing.
        metrics: See ``table_from_metrics``.
        extra: See ``table_from_metrics``.
        facts: What one must know to read the figures, such as the config, the checkpoint, the versions.

    Returns:
        The paths of the JSON and of the Markdown file.

    Raises:
        FileExistsError: A file of one of these names is there and is not such a report's.
    """
    out_dir = Path(out_dir)
    json_path, md_path = out_dir / 'results.json', out_dir / 'results.md'
    for path in (json_path, md_path):
        if path.exists() and MARK not in path.read_text(encoding='utf-8', errors='replace'):
            raise FileExistsError(f'{path} exists and is no report of mmuniqrnet; move it or write elsewhere')
    rows = table_from_metrics(metrics, extra)
    out_dir.mkdir(parents=True, exist_ok=True)
    json_path.write_text(to_json(rows, facts) + '\n', encoding='utf-8')
    stated = ''.join(f'- {name}: {value}\n' for name, value in (facts or {}).items())
    md_path.write_text(
        f'# Results\n<!-- {MARK} -->\n\n{stated}\n{to_markdown(rows)}\n\n'
        'In per cent, in pixels of the original images; N counts expressions.\n',
        encoding='utf-8',
    )
    return json_path, md_path


def _aligned(rows: Sequence[Row], escape: bool = False) -> list[list[str]]:
    present = [name for row in rows for name in row]
    columns = [SET, *(name for name in COLUMNS if name in present)]
    columns += [name for name in dict.fromkeys(present) if name not in columns]
    table = [columns] + [[_cell(row.get(name)) for name in columns] for row in rows]
    if escape:
        table = [[cell.replace('|', '\\|') for cell in cells] for cells in table]
    widths = [max(len(cells[index]) for cells in table) for index in range(len(columns))]
    return [
        [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))]
        for cells in table
    ]


def _cell(value: Any) -> str:
    if value is None:
        return '-'
    return f'{value:.2f}' if isinstance(value, float) else str(value)

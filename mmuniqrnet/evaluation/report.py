"""Metrics as tables for the console, in Markdown and in JSON, with one row per evaluation set."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmuniqrnet.utils.errors import OverwriteError
from mmuniqrnet.utils.io import atomic_path
from mmuniqrnet.utils.tables import markdown_table, text_table

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
# Shown only if they differ from N.
PARTIAL_COUNTS = ('N_box', 'N_mask')
MARK = 'mmuniqrnet.evaluation.report/1'


def table_from_metrics(
    metrics: Mapping[str, float], extra: Mapping[str, Mapping[str, float | str]] | None = None
) -> list[Row]:
    """Rows, one per evaluation set and protocol, from metrics with keys ``{dataset}/{split}/{metric}``.

    Args:
        metrics: What ReferringMetric (and any other metric) returned. Metrics of a published protocol,
            ``refcoco/val/cris_mIoU``, go to a row of their own, ``refcoco/val (cris)``.
        extra: More columns, each a mapping from row name to value: ``{'text-blind Acc@0.5': {'refcoco/val': 31.5}}``.

    Raises:
        ValueError: ``extra`` names a row that does not exist, or a column that exists already.
    """
    rows: dict[str, Row] = {}
    for key, value in metrics.items():
        name, _, metric = key.rpartition('/')
        # The longest match: 'cris_val_mIoU' is of protocol cris_val, not of cris.
        protocol = max((known for known in PROTOCOLS if metric.startswith(f'{known}_')), key=len, default='')
        if protocol:
            name, metric = f'{name} ({protocol})', metric.removeprefix(f'{protocol}_')
        rows.setdefault(name, {SET: name})[metric] = value
    for row in rows.values():
        for count in PARTIAL_COUNTS:
            if row.get(count) == row.get('N'):
                row.pop(count, None)
    for column, values in (extra or {}).items():
        unknown = [name for name in values if name not in rows]
        if unknown:
            raise ValueError(f"extra column '{column}' has values for {unknown}, but the rows are {list(rows)}")
        for name, cell in values.items():
            if column in rows[name]:
                raise ValueError(f"extra column '{column}' is already in the table")
            rows[name][column] = cell
    return list(rows.values())


def to_text(rows: Sequence[Row]) -> str:
    """A table for the console."""
    return text_table(rows, _columns(rows))


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    return markdown_table(rows, _columns(rows))


def to_json(rows: Sequence[Row], facts: Mapping[str, str] | None = None) -> str:
    """The rows, not rounded, and the facts, as JSON."""
    return json.dumps(dict(written_by=MARK, facts=dict(facts or {}), rows=list(rows)), ensure_ascii=False, indent=2)


def write_report(
    out_dir: str | Path,
    metrics: Mapping[str, float],
    extra: Mapping[str, Mapping[str, float | str]] | None = None,
    facts: Mapping[str, str] | None = None,
) -> tuple[Path, Path]:
    """Write ``results.json`` and ``results.md``; an earlier report of this kind is replaced.

    Args:
        out_dir: The folder; it is created if it does not exist.
        metrics: See ``table_from_metrics``.
        extra: See ``table_from_metrics``.
        facts: What the metrics depend on, such as the config, the checkpoint and the versions.

    Returns:
        The paths of the JSON and of the Markdown file.

    Raises:
        FileExistsError: A file with one of these names exists, is not empty, and is not such a report.
    """
    out_dir = Path(out_dir)
    json_path, md_path = out_dir / 'results.json', out_dir / 'results.md'
    for path in (json_path, md_path):
        found = path.read_text(encoding='utf-8', errors='replace') if path.exists() else ''
        if found and MARK not in found:
            raise OverwriteError(f'{path} exists and is not a report of mmuniqrnet: move it, or choose another folder')
    rows = table_from_metrics(metrics, extra)
    out_dir.mkdir(parents=True, exist_ok=True)
    stated = ''.join(f'- {name}: {value}\n' for name, value in (facts or {}).items())
    page = (
        f'# Results\n<!-- {MARK} -->\n\n{stated}\n{to_markdown(rows)}\n\n'
        'In per cent, in pixels of the original images; N counts expressions.\n'
    )
    for path, text in ((json_path, to_json(rows, facts) + '\n'), (md_path, page)):
        with atomic_path(path) as part:
            part.write_text(text, encoding='utf-8')
    return json_path, md_path


def _columns(rows: Sequence[Row]) -> list[str]:
    """All columns that any row has: the known ones in the order of ``COLUMNS``, then the others."""
    present = dict.fromkeys(name for row in rows for name in row)
    known = [SET, *(name for name in COLUMNS if name in present)]
    return known + [name for name in present if name not in known]

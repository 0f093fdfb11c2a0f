"""The JSON Lines file of an evaluation: one line per expression, from which every metric can be recomputed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmuniqrnet.utils.errors import MissingFileError, OverwriteError, UserError
from mmuniqrnet.utils.io import atomic_path

from .protocols import get_protocol
from .set_metrics import compute_set_metrics

MARK = 'ReferringMetric/1'


def results_path(prefix: str, dataset: str, split: str) -> Path:
    """The results file of one evaluation set: ``{prefix}_{dataset}_{split}.jsonl``."""
    name = f'{dataset}_{split}'.replace('/', '-')
    return Path(f'{prefix}_{name}.jsonl')


def check_replaceable(path: Path) -> None:
    """Check that ``path`` can be written.

    Raises:
        FileExistsError: A file exists there that ReferringMetric did not write.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        with path.open(encoding='utf-8-sig') as file:
            ours = json.loads(file.readline()).get('written_by') == MARK
    except (ValueError, AttributeError):
        ours = False
    if not ours:
        raise OverwriteError(f'{path} exists and was not written by ReferringMetric; choose another outfile_prefix')


def write_results(path: Path, records: Sequence[Mapping[str, Any]], protocol: str) -> None:
    """Write the records of one evaluation set; the file of an earlier evaluation is replaced.

    Raises:
        FileExistsError: A file exists there that ReferringMetric did not write.
    """
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part, part.open('w', encoding='utf-8') as file:
        for record in records:
            line = dict(written_by=MARK, protocol=protocol, **record)
            file.write(json.dumps(line, ensure_ascii=False, default=_plain) + '\n')


def read_results(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a file that ``write_results`` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line was not written by ReferringMetric.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'results file {path} not found; ReferringMetric writes it if outfile_prefix is set')
    records = []
    with path.open(encoding='utf-8-sig', errors='replace') as file:  # other bytes are no JSON, and named below
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict) or record.get('written_by') != MARK:
                raise UserError(f'{path}, line {number}: not a line of a results file of ReferringMetric')
            records.append(record)
    return records


def metrics_from_file(path: str | Path) -> dict[str, float | int]:
    """The metrics of an evaluation set, recomputed from its results file, by the protocol that the file names.

    Raises:
        FileNotFoundError, ValueError: See ``read_results``; ValueError also if the file is empty.
    """
    records = read_results(path)
    if not records:
        raise UserError(f'{path} has no lines')
    return compute_set_metrics(records, get_protocol(records[0]['protocol']))


def _plain(value: Any) -> Any:
    # Ids may be numpy scalars, depending on how the annotations were loaded.
    if hasattr(value, 'item'):
        return value.item()
    return str(value)

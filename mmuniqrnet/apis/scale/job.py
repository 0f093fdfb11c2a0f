"""A job: its input, model and options, and which parts of the answers are complete; stored in its output folder."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from mmuniqrnet.utils.errors import OverwriteError, UserError
from mmuniqrnet.utils.io import temporary_folder_beside

from .parts import read_summary
from .rows import Row

# Readers of parquet skip names that begin with an underscore or a dot.
STATE, MANIFEST, ROWS, TRIES = '_job', 'job.json', 'rows.jsonl', 'tries'
LEFTOVER = f'.{STATE}.'  # of a start that ended before the folder was complete


class Job:
    """The rows to answer, divided into parts, and the folder of the answers.

    The rows are copied into the folder when the job starts, so that a part has the same rows for each worker and at
    each later start, whatever becomes of the input. The answers of part ``i`` are ``part-{i:06d}.parquet``.

    Args:
        folder: A folder in which :meth:`create` has made a job.

    Attributes:
        made_from: What the answers depend on: input, weights, options.
        root: The folder that the paths of the rows are relative to.
        parts: How many there are.
        rows, answers: How many rows the input has, and how many expressions.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        text = (self.folder / STATE / MANIFEST).read_text(encoding='utf-8')
        manifest = json.loads(text)
        self.id = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.made_from: dict[str, Any] = manifest['made_from']
        self.root = Path(manifest['root'])
        self.rows, self.answers = manifest['rows'], manifest['answers']
        self.part_rows, self._offsets = manifest['part_rows'], manifest['offsets']
        self.parts = len(self._offsets)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        rows: Iterable[Row],
        made_from: Mapping[str, Any],
        root: Path,
        part_rows: int | None = None,
    ) -> 'Job':
        """A new job in an empty folder, or the job that is in it already, if it is the same.

        Args:
            folder: Created if it is missing.
            rows: The rows of the input.
            made_from: What the answers depend on besides the rows; can be written as JSON.
            root: The absolute folder that the paths of the rows are relative to.
            part_rows: Rows in a part; None = as in the job that is there, or 512.

        Raises:
            OverwriteError: The folder contains something else, or a job with another input, or with other options.
            UserError: There are no rows, or the folder cannot be written.
        """
        folder = Path(folder).expanduser().absolute()
        if folder.exists() and not folder.is_dir():
            raise OverwriteError(f'{folder} is a file, not a folder; name a new folder.')
        if (folder / STATE / MANIFEST).is_file():
            job = cls(folder)
            job._require_same(rows, made_from, root, part_rows)
            return job
        if folder.is_dir() and any(not path.name.startswith(LEFTOVER) for path in folder.iterdir()):
            raise OverwriteError(f'{folder} contains other files, and nothing is overwritten; name a new folder.')
        with temporary_folder_beside(folder / STATE) as temporary:
            with open(temporary / ROWS, 'wb') as file:
                manifest = _write_rows(rows, part_rows or 512, file)
            if not manifest['rows']:
                raise UserError('the input has no rows.')
            manifest |= dict(made_from=dict(made_from, rows=manifest.pop('digest')), root=str(root))
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + '\n', encoding='utf-8')
            (temporary / TRIES).mkdir()
            temporary.chmod(0o755)  # temporary folders are private, but workers may be another user's
            temporary.rename(folder / STATE)
        return cls(folder)

    def rows_of(self, part: int) -> list[Row]:
        """The rows of a part."""
        with open(self.folder / STATE / ROWS, 'rb') as file:
            file.seek(self._offsets[part])
            return [Row(*json.loads(line)) for line in islice(file, self.part_rows)]

    def path_of(self, part: int) -> Path:
        return self.folder / f'part-{part:06d}.parquet'

    def tries_of(self, part: int) -> Path:
        return self.folder / STATE / TRIES / f'{part:06d}'

    def summary_of(self, part: int) -> dict[str, Any] | None:
        """What was noted with a complete part; None if it is still to be answered.

        Raises:
            OverwriteError: The part is of another job.
        """
        path = self.path_of(part)
        summary = read_summary(path) if path.exists() else None
        if summary is not None and summary['job'] != self.id:
            raise OverwriteError(f'{path} is of another job, and nothing is overwritten; name a new folder.')
        return summary

    def _require_same(
        self, rows: Iterable[Row], made_from: Mapping[str, Any], root: Path, part_rows: int | None
    ) -> None:
        wanted = dict(made_from, root=str(root), part_rows=part_rows or self.part_rows)
        found = dict(self.made_from, root=str(self.root), part_rows=self.part_rows)
        changed = [key for key in found if key != 'rows' and wanted.get(key) != found[key]]
        if not changed and _write_rows(rows, self.part_rows)['digest'] != found['rows']:
            changed = ['rows']
        if changed:
            key = changed[0]
            source = FROM.get(key, 'other options')
            values = '' if key not in SHOWN else f' ({SHOWN[key]} {found[key]}, now {wanted.get(key)})'
            raise OverwriteError(
                f'{self.folder} has answers that were made from {source}{values}, and nothing is overwritten; name a '
                'new folder.'
            )


FROM = dict(
    rows='other images or expressions',
    root='another folder of images',
    weights_sha256='other weights',
    config_sha256='another config',
    version='another version of mmuniqrnet',
)
SHOWN = {
    'root': 'before',
    'version': 'before',
    'part_rows': '--part-rows',
    'refuse_below': '--refuse-below',
    'orientation': '--orientation',
}


def _write_rows(rows: Iterable[Row], part_rows: int, file: Any = None) -> dict[str, Any]:
    """Write the rows as lines, if there is a file; their number, digest, and the offset of each part in the file."""
    digest, offset, count, answers, offsets = hashlib.sha256(), 0, 0, 0, []
    for row in rows:
        try:
            line = json.dumps(row, ensure_ascii=False).encode() + b'\n'
        except UnicodeEncodeError:
            raise UserError(f'row {row.row}: {row.image!a} or its expressions are not valid Unicode.') from None
        if count % part_rows == 0:
            offsets.append(offset)
        count, answers, offset = count + 1, answers + len(row.expressions), offset + len(line)
        digest.update(line)
        if file is not None:
            file.write(line)
    return dict(rows=count, answers=answers, part_rows=part_rows, digest=digest.hexdigest(), offsets=offsets)

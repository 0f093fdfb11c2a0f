"""Parquet files of the Hugging Face hub, read row by row; ``pyarrow`` is imported only here, when one is read."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmuniqrnet.utils.errors import MissingFileError, UserError


def list_parquet(path: str | Path) -> list[Path]:
    """The parquet files of a folder and of the folders in it, or the one file.

    Raises:
        MissingFileError: There are none.
    """
    path = Path(path).expanduser()
    files = [path] if path.is_file() else sorted(path.rglob('*.parquet')) if path.is_dir() else []
    if not files:
        raise MissingFileError(f'{path}: there is no parquet file.')
    return files


def parquet_rows(
    files: Sequence[Path], columns: Sequence[str], origin: str, optional: Sequence[str] = (), batch_size: int = 2048
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of all files, each with where it is: file and row, counted from 0.

    Args:
        files: The files.
        columns: The columns to read, which all files must have.
        origin: The repositories whose files have these columns, for the message.
        optional: Columns that are read where a file has them.
        batch_size: Rows that are in memory at a time.

    Raises:
        UserError: pyarrow is missing, a file cannot be read, or it lacks a column.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError("parquet files are read by pyarrow: pip install 'mmuniqrnet[hub]'.") from None
    for path in files:
        try:
            file = pyarrow.parquet.ParquetFile(path)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UserError(f'{path} is not a readable parquet file ({error}).') from None
        names = file.schema_arrow.names
        lacking = [column for column in columns if column not in names]
        if lacking:
            raise UserError(
                f'{path} lacks the column(s) {", ".join(lacking)}: is it a file of {origin}? It has {", ".join(names)}.'
            )
        wanted = [column for column in (*columns, *optional) if column in names]
        number = 0
        try:
            for batch in file.iter_batches(batch_size=batch_size, columns=wanted):
                for row in batch.to_pylist():
                    yield f'{path.name}, row {number}', row
                    number += 1
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UserError(f'{path} cannot be read after row {number} ({error}).') from None

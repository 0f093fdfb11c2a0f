"""The parts of an output: parquet files, each of which gets its name only when it is complete."""

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmuniqrnet.utils.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

SUMMARY = b'mmuniqrnet'


def answer_schema() -> 'pa.Schema':
    """The columns of the answers, one row for each expression about each image.

    They are those of :func:`mmuniqrnet.apis.outputs.to_dict`, without ``image_index``, and with

    - ``key``: ``{row}_{n}``, the row of the input and the number of the expression in it, from 0;
    - ``mask``: the counts of COCO's compressed RLE alone, since its size is ``size``;
    - ``kept``: the part of a too long expression that the network reads; null if it reads all of it;
    - ``error``: one sentence instead of an answer; null if there is an answer.
    """
    import pyarrow as pa

    number, text = pa.float32(), pa.string()
    return pa.schema(
        dict(
            key=text,
            image=text,
            expression=text,
            size=pa.list_(pa.int32()),
            frame=text,
            box=pa.list_(number),
            score=number,
            refused=pa.bool_(),
            mask=text,
            unknown_words=pa.list_(text),
            model=text,
            kept=text,
            error=text,
        ).items()
    )


def answer_table(answers: Sequence[Mapping[str, Any]]) -> 'pa.Table':
    """Answers as dictionaries, with ``key`` and ``kept``, as a table of :func:`answer_schema`."""
    import pyarrow as pa

    rows = [dict(answer, mask=(answer.get('mask') or {}).get('counts')) for answer in answers]
    return pa.Table.from_pylist(rows, schema=answer_schema())


def write_part(path: Path, table: 'pa.Table', summary: Mapping[str, Any]) -> None:
    """Write a part under a temporary name, and rename it when all of it is on the disk.

    Args:
        path: The part; written again by a second worker, it gets the same content.
        table: Its answers.
        summary: Kept in the file, for :func:`read_summary`.

    Raises:
        UserError: It can't be written.
    """
    import pyarrow.parquet as pq

    # Not the number of the process: workers on several machines may share the folder.
    temporary = path.with_name(f'.{path.name}.{uuid.uuid4().hex}')
    try:
        table = table.replace_schema_metadata({SUMMARY: json.dumps(dict(summary)).encode()})
        with open(temporary, 'wb') as file:
            pq.write_table(table, file, compression='zstd')
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f'{path} cannot be written: {error.strerror or error}.') from None
    finally:
        temporary.unlink(missing_ok=True)


def read_summary(path: Path) -> dict[str, Any] | None:
    """The summary that was written with a part; None if the part is missing, damaged or not one of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path).metadata or {}
        return json.loads(metadata[SUMMARY])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None


def remove_unfinished(folder: Path) -> None:
    """Remove what workers left that ended before they could rename a part; only when no worker is writing."""
    for path in folder.glob('.part-*'):
        path.unlink(missing_ok=True)

"""The input of a job: images with their expressions, from a folder, JSON Lines or parquet, one row after the other."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmuniqrnet.apis.inputs import list_images
from mmuniqrnet.datasets.annotation_files import decode_text
from mmuniqrnet.datasets.jsonl_parser import check_expressions, parse_line
from mmuniqrnet.utils.errors import MissingFileError, UserError

JSONL, PARQUET = ('.jsonl', '.ndjson'), '.parquet'
COLUMNS = ('image', 'expressions')


class Row(NamedTuple):
    """An image and the expressions about it.

    Attributes:
        row: Its number, from 1: of the line (JSON Lines), of the row in all files together (parquet), or of the image
            in the order of names (folder).
        image: The path as the input gives it.
        expressions: One or several.
    """

    row: int
    image: str
    expressions: list[str]


class RowSource:
    """Reads the rows of an input, each time from the beginning.

    Args:
        path: An image, a folder of images, a JSON Lines file, or a parquet file or a folder of such files.
        expressions: The expressions for each image; for JSON Lines and parquet none, because their rows contain them.
        images: The folder that paths of images in JSON Lines and parquet are relative to; None = the folder of the
            file.

    Attributes:
        root: The absolute folder that relative paths of the rows are relative to.

    Raises:
        UserError: The input does not exist, or the expressions are given twice or not at all.
    """

    def __init__(self, path: str | Path, expressions: Sequence[str] = (), images: str | Path | None = None) -> None:
        self.path = Path(path).expanduser()
        self.expressions = list(expressions)
        if not self.path.exists():
            raise MissingFileError(f'there is no image, folder or file {path}.')
        self.kind = _kind(self.path)
        if self.kind == 'images':
            if not self.expressions:
                raise UserError(f'{path} contains no expressions: give one or several after it.')
            if images is not None:
                raise UserError('--images has an effect only for JSON Lines and parquet.')
            self.root = Path(self.path.anchor or Path.cwd())
            return
        if self.expressions:
            raise UserError(f'the expressions are in {path}: give none after it.')
        folder = self.path if self.path.is_dir() else self.path.parent
        self.root = (folder if images is None else Path(images).expanduser()).resolve()
        if not self.root.is_dir():
            raise MissingFileError(f'--images {images}: there is no such folder.')

    def __iter__(self) -> Iterator[Row]:
        """The rows, in the order of the input.

        Raises:
            UserError: A line or a row is malformed; the message names it. No image is opened.
        """
        readers = {'images': self._images, '.jsonl': self._lines, PARQUET: self._table_rows}
        yield from readers[self.kind]()

    def _images(self) -> Iterator[Row]:
        for number, image in enumerate(list_images(str(self.path)), 1):
            yield Row(number, str(image), self.expressions)

    def _lines(self) -> Iterator[Row]:
        with open(self.path, 'rb') as file:
            for number, data in enumerate(file, 1):
                where = f'{self.path}, line {number}'
                try:
                    text = decode_text(data)
                except UnicodeDecodeError as error:
                    raise UserError(f'{where}: not UTF-8 text (byte {error.start + 1}).') from None
                if not text.strip():
                    continue
                line, reasons = parse_line(text)
                if line is None or reasons:
                    raise UserError(f'{where}: {reasons[0]}.')
                yield _checked(number, line, where)

    def _table_rows(self) -> Iterator[Row]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        number = 0
        for path in sorted(_visible(self.path)) if self.path.is_dir() else [self.path]:
            try:
                with pq.ParquetFile(path) as file:
                    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
                    if missing:
                        raise UserError(
                            f'{path} has no column "{missing[0]}"; needed are "image", a path, and "expressions", a '
                            'string or a list of strings.'
                        )
                    for batch in file.iter_batches(columns=list(COLUMNS)):
                        for values in batch.to_pylist():
                            number += 1
                            yield _checked(number, values, f'{path}, row {number}')
            except pa.ArrowException as error:
                raise UserError(f'{path} cannot be read as parquet ({str(error).splitlines()[0]}).') from None


def _kind(path: Path) -> str:
    """``'images'``, ``'.jsonl'`` or ``'.parquet'``."""
    if path.is_dir():
        names = [file.suffix.lower() for file in _visible(path)]
        if PARQUET not in names:
            return 'images'
        if set(names) != {PARQUET}:
            raise UserError(f'{path} has parquet files and others: give a folder of images, or one of parquet files.')
        return PARQUET
    suffix = path.suffix.lower()
    return '.jsonl' if suffix in JSONL else PARQUET if suffix == PARQUET else 'images'


def _visible(folder: Path) -> list[Path]:
    """The files that readers of parquet read in a folder: not those whose names begin with a dot or an underscore."""
    return [path for path in folder.iterdir() if path.is_file() and path.name[0] not in '._']


def _checked(number: int, values: dict[str, Any], where: str) -> Row:
    for name in COLUMNS:
        if values.get(name) is None:
            raise UserError(f'{where}: "{name}" is missing.')
    image = values['image']
    if not isinstance(image, str) or not image:
        raise UserError(f'{where}: "image" should be the path of an image, not {str(image)[:40]!r}.')
    try:
        return Row(number, image, check_expressions(values['expressions']))
    except UserError as error:
        raise UserError(f'{where}: {error}.') from None

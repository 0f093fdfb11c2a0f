"""Files that are made to keep a parser busy."""

from io import BytesIO


class FewReads(BytesIO):
    """A file in memory that can be read from only so many times.

    Parsers in Python read once or twice for each part of a file. A header of a picture has at most hundreds of parts; a
    file of a few megabytes can have a million, and takes seconds.

    Args:
        content: The file.
        most: How many times it may be read from.
    """

    def __init__(self, content: bytes, most: int = 10_000) -> None:
        super().__init__(content)
        self._left = most

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file.

        Raises:
            OSError: It was read from too often.
        """
        self._left -= 1
        if self._left < 0:
            raise OSError('the file has too many parts')
        return super().read(size)

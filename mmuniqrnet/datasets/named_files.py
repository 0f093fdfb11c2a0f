"""The images and mask files that lines of custom data name, each opened once."""

import os

from mmuniqrnet.structures.mask_files import read_mask_file
from mmuniqrnet.utils.errors import UserError

from .annotation_files import windows_path
from .pictures import Picture, check_picture, in_parallel


class ImageFiles:
    """The images and mask files that the lines name; each is opened once.

    Args:
        whole: Decode all of each file, as training does; otherwise only headers are read.
    """

    def __init__(self, whole: bool) -> None:
        self.whole = whole
        self._pictures: dict[str, Picture | str] = {}
        self._masks: dict[str, dict | str] = {}

    def decode(self, images: list[str], masks: list[str]) -> None:
        """Decode these files in parallel and keep the results for :meth:`picture` and :meth:`mask`."""
        jobs = [f'i{path}' for path in images] + [f'm{path}' for path in masks]

        def read(job: str) -> Picture | dict | str:
            return (self._read_picture if job[0] == 'i' else self._read_mask)(job[1:])

        for job, result in in_parallel(read, jobs).items():
            (self._pictures if job[0] == 'i' else self._masks)[job[1:]] = result  # type: ignore[assignment]

    def picture(self, path: str) -> Picture:
        """The properties of an image, from its header; UserError if it cannot be read."""
        if path not in self._pictures:
            self._pictures[path] = self._read_picture(path)
        found = self._pictures[path]
        if isinstance(found, str):
            raise UserError(found)
        return found

    def mask(self, path: str) -> dict:
        """A mask file as RLE; UserError if it cannot be read."""
        if path not in self._masks:
            self._masks[path] = self._read_mask(path)
        found = self._masks[path]
        if isinstance(found, str):
            raise UserError(found)
        return found

    def _read_picture(self, path: str) -> Picture | str:
        try:
            return check_picture(path, self.whole)
        except UserError as error:
            return with_hint(str(error), path)

    @staticmethod
    def _read_mask(path: str) -> dict | str:
        try:
            return read_mask_file(path)
        except UserError as error:
            return with_hint(str(error).rstrip('.'), path)


def with_hint(reason: str, path: str) -> str:
    """The reason why a file cannot be read, with a hint if its path was written on Windows."""
    hint = None if os.path.exists(path) else windows_path(path)
    return f'{reason.replace(path, repr(path)[1:-1])}: {hint}' if hint else reason

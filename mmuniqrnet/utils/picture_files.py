"""Picture files: reading images as they are stored, and folders of pictures with an index."""

from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmengine.fileio import get

from .errors import OverwriteError, UserError
from .io import unique_name


def read_image(path: str | Path, backend_args: dict | None = None) -> np.ndarray:
    """Read an image as RGB uint8 [H, W, 3], without rotating it by its EXIF data: annotations refer to stored pixels.

    Args:
        path: Any path or URL that mmengine's file backends read.
        backend_args: Arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: The file cannot be decoded.
    """
    # mmcv returns RGB for the flag 'color' only
    content = get(path, backend_args=backend_args)
    image = mmcv.imfrombytes(content, flag='color_ignore_orientation') if content else None
    if image is None:
        raise UserError(f'image {path} cannot be decoded.')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class PictureFolder:
    """A folder of pictures with an index in Markdown, which also records which pictures may be replaced later.

    Args:
        folder: A new or empty folder, or one that was filled by this class before: the pictures in its index are then
            removed.
        index: Name of the index file.
        title: First words of the index, by which an index written by this class is recognised.
        about: Text after the title.

    Raises:
        OverwriteError: ``folder`` is a file, or has other content.
    """

    def __init__(self, folder: str | Path, index: str, title: str, about: str = '') -> None:
        self.folder = Path(folder)
        self.index = self.folder / index
        self.count = 0
        self._names: set[str] = set()
        if self.folder.exists() and not self.folder.is_dir():
            raise OverwriteError(f'{folder} is a file, not a folder: name a new folder.')
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.index.is_file() and self.index.read_text(encoding='utf-8').startswith(title):
            for name in self._listed():
                (self.folder / name).unlink(missing_ok=True)
        elif any(self.folder.iterdir()):
            raise OverwriteError(f'{folder} is not empty and has no {index} of earlier pictures: name a new folder.')
        self.index.write_text(f'{title}{about}\n\n', encoding='utf-8')

    def add(self, name: str, text: str) -> Path:
        """Add a picture to the index, and return the path to write it to, which no earlier picture has.

        Args:
            name: File name with suffix; ``-2``, ``-3``, ... is inserted if it is taken.
            text: Description for the index.
        """
        name = unique_name(name, self._names)
        self.count += 1
        with self.index.open('a', encoding='utf-8') as file:
            file.write(f'{self.count}. [{name}]({name}): {" ".join(text.split())}\n')
        return self.folder / name

    def write(self, name: str, text: str, picture: np.ndarray) -> Path:
        """Add a picture, RGB uint8 [H, W, 3], and write it; arguments and result as in ``add``."""
        path = self.add(name, text)
        mmcv.imwrite(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), str(path))
        return path

    def _listed(self) -> list[str]:
        lines = self.index.read_text(encoding='utf-8').splitlines()
        names = [line.partition('[')[2].partition('](')[0] for line in lines if line[:1].isdigit()]
        return [name for name in names if name.endswith('.png') and Path(name).name == name]

from pathlib import Path


class PictureFolder:
    """A folder of pictures with an index of them in Markdown, which is also how it knows what it may replace.

    Args:
        folder: A new or empty folder, or one that was filled this way before: the pictures in its index are removed.
        index: Name of the index file.
        title: First words of the index; a file that begins otherwise is somebody else's.
        about: What follows them.

    Raises:
        FileExistsError: ``folder`` holds something else.
    """

    def __init__(self, folder: str | Path, index: str, title: str, about: str = '') -> None:
        self.folder = Path(folder)
        self.index = self.folder / index
        self.count = 0
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(f'{folder} is a file, not a folder; name a new folder')
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.index.is_file() and self.index.read_text(encoding='utf-8').startswith(title):
            for name in self._listed():
                (self.folder / name).unlink(missing_ok=True)
        elif any(self.folder.iterdir()):
            raise FileExistsError(f'{folder} is not empty and has no {index} of earlier pictures; name a new folder')
        self._names: set[str] = set()
        self.index.write_text(f'{title}{about}\n\n', encoding='utf-8')

    def add(self, name: str, text: str) -> Path:
        """Enter a picture into the index; returns the path to write it to, which differs from all before.

        Args:
            name: File name with its ending; ``-2``, ``-3``, ... is put in where another picture has it.
            text: What the index says of it.
        """
        path = Path(name)
        unique, number = path, 1
        while unique.name.lower() in self._names:  # some file systems do not tell A from a
            number += 1
            unique = path.with_name(f'{path.stem}-{number}{path.suffix}')
        self._names.add(unique.name.lower())
        self.count += 1
        with self.index.open('a', encoding='utf-8') as file:
            file.write(f'{self.count}. [{unique.name}]({unique.name}): {" ".join(text.split())}\n')
        return self.folder / unique.name

    def _listed(self) -> list[str]:
        lines = self.index.read_text(encoding='utf-8').splitlines()
        names = [line.partition('[')[2].partition('](')[0] for line in lines if line[:1].isdigit()]
        return [name for name in names if name.endswith('.png') and Path(name).name == name]

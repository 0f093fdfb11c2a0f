"""The files that people take along: a mask a phrase, and everything in one zip."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mmuniqrnet.apis.outputs import AnswerFolder, Question


class Files(NamedTuple):
    """``masks`` has an entry a phrase, None where there is no mask."""

    masks: list[Path | None]
    everything: Path


def write_files(folder: Path, name: str, predictions: Sequence[dict[str, Any]], drawn: np.ndarray) -> Files:
    """Write what the inferencer's ``out_dir`` gets, the picture with the answers on it, and a zip of all that.

    Args:
        folder: A new or empty one.
        name: The picture's, which the files are named after.
        predictions: The inferencer's dictionaries; those that are refused, failed or without a mask give no PNG.
        drawn: RGB uint8.
    """
    content = folder / f'{Path(name).stem[:60]}_answers'  # a file's name has at most 255 bytes
    answers = AnswerFolder(content)
    named = [answers.add(Question(name, 0, p['expression']), p).get('mask_file') for p in predictions]
    answers.finish()
    Image.fromarray(drawn).save(content / 'answers.png')
    everything = folder / f'{content.name}.zip'
    with zipfile.ZipFile(everything, 'w', zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in content.rglob('*') if path.is_file()):
            archive.write(path, path.relative_to(content))
    return Files([file and content / file for file in named], everything)

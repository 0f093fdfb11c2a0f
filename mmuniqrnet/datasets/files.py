"""Reading annotation files, with errors that say what is missing and where it belongs."""

import difflib
import json
import os
from collections.abc import Callable
from typing import Any

from mmengine import fileio

from .safe_pickle import load_plain_pickle

PICKLE_ENDINGS = ('.p', '.pkl', '.pickle')


def require_file(path: str, argument: str, content: str) -> None:
    """Raise FileNotFoundError, in one sentence, unless ``path`` exists.

    Args:
        path: The file.
        argument: The constructor's argument that named it.
        content: What the file should hold, as it ends the sentence "it should hold ...".
    """
    if path and fileio.exists(path):
        return
    folder, name = os.path.split(path)
    if not path:
        hint = ''
    elif os.path.isdir(folder or '.'):
        similar = difflib.get_close_matches(name, os.listdir(folder or '.'), n=3, cutoff=0.6)
        hint = f' Did you mean {" or ".join(similar)}, in the same folder?' if similar else ''
    else:
        hint = f' The folder {folder} does not exist either.'
    raise FileNotFoundError(f'{argument} "{path}" does not exist; it should hold {content}.{hint}')


def load_json(path: str, object_hook: Callable[[dict], Any] | None = None) -> Any:
    """Read a JSON file; ValueError names the file, line and column where it is malformed."""
    with fileio.get_local_path(path) as local, open(local, encoding='utf-8') as file:
        try:
            return json.load(file, object_hook=object_hook)
        except json.JSONDecodeError as error:
            raise ValueError(
                f'{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}; '
                'it may be cut off, or a web page saved under this name.'
            ) from None
        except UnicodeDecodeError as error:
            raise ValueError(f'{path} is not valid JSON: byte {error.start} is not UTF-8 text.') from None


def load_refs(path: str) -> Any:
    """Read refs from ``.json``, or from ``.p``, ``.pkl``, ``.pickle`` by the restricted unpickler."""
    ending = os.path.splitext(path)[1].lower()
    if ending == '.json':
        return load_json(path)
    if ending in PICKLE_ENDINGS:
        return load_plain_pickle(path, fileio.get(path))
    raise ValueError(f'{path} ends in "{ending}": refs are read from .json, {", ".join(PICKLE_ENDINGS)}.')

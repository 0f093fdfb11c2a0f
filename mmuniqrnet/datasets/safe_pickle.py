"""Reading REFER's ``refs(*).p`` without running what a downloaded file might contain."""

import io
import pickle
from typing import Any


class UnsafePickleError(ValueError):
    """A pickle asks for something else than plain containers, strings and numbers."""


class _PlainUnpickler(pickle.Unpickler):
    # Every class or function that a pickle uses goes through `find_class`; plain values have opcodes of their own.

    def find_class(self, module: str, name: str) -> Any:
        raise UnsafePickleError(f'{module}.{name}')


def load_plain_pickle(path: str, data: bytes | None = None) -> Any:
    """Load a pickle that consists of dicts, lists, tuples, sets, strings, bytes, numbers, booleans and None.

    Strings that Python 2 wrote become ``str``: as UTF-8, or as Latin-1 where they are not valid UTF-8.

    Args:
        path: The file; named in error messages.
        data: Its content, where it has been read already.

    Raises:
        UnsafePickleError: The file asks for any class or function. Nothing of it has been run.
        ValueError: The file is no pickle, or is cut off.
    """
    if data is None:
        with open(path, 'rb') as file:
            data = file.read()
    try:
        try:
            return _PlainUnpickler(io.BytesIO(data), encoding='utf-8').load()
        except UnicodeDecodeError:
            return _PlainUnpickler(io.BytesIO(data), encoding='latin1').load()
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f'{path} was refused: this pickle asks for `{error}`, which could run code, but the refs need only plain '
            'containers, strings and numbers; get the file from the REFER authors, or save it as JSON.'
        ) from None
    except Exception as error:  # malformed pickles raise nearly every built-in exception
        raise ValueError(
            f'{path} is not a readable pickle ({type(error).__name__}: {error}); it may be cut off, or a '
            'web page saved under this name: download it again.'
        ) from None

"""Reading annotation files: JSON, and pickles, without running code that they may contain."""

import codecs
import difflib
import io
import json
import os
import pickle
import re
from collections.abc import Callable, Sequence
from typing import Any

from mmengine import fileio

from mmuniqrnet.utils.errors import MissingFileError, UserError

PICKLE_ENDINGS = ('.p', '.pkl', '.pickle')
BACKSLASHES = 'write paths with /, as in images/new.jpg'
NOT_UNICODE = 'is not valid Unicode (an emoji that was cut in two?)'


def require_file(path: str, argument: str, content: str) -> None:
    """Raise FileNotFoundError, in one sentence, unless ``path`` exists.

    Args:
        path: The file.
        argument: The constructor's argument that named it.
        content: What the file should hold; the message is "... it should hold {content}.".
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
    raise MissingFileError(f'{argument} "{path}" does not exist; it should hold {content}.{hint}')


def load_json(path: str, object_hook: Callable[[dict], Any] | None = None) -> Any:
    """Read a JSON file in UTF-8, with or without a byte-order mark.

    Args:
        path: The file.
        object_hook: Called with every object; its result takes the object's place.

    Raises:
        UserError: It is no file, it is malformed (the message names line and column), or an object has a key twice, so
            that one value would be lost.
    """

    def build(pairs: list[tuple[str, Any]]) -> Any:
        node = dict(pairs)
        if len(node) != len(pairs):
            raise UserError(f'{path}: {repeated_key(pairs)}.')
        return node if object_hook is None else object_hook(node)

    try:
        with fileio.get_local_path(path) as local, open(local, 'rb') as file:
            text = decode_text(file.read())
        try:
            return json.loads(text, object_pairs_hook=build)
        except (UserError, json.JSONDecodeError):
            raise
        except ValueError:  # Python refuses to convert such numbers
            number = longest_number(text)
            line = text.count('\n', 0, number.start()) + 1
            raise UserError(
                f'{path} cannot be read: the number at line {line} has {len(number[0])} digits: correct it.'
            ) from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror}).') from None
    except json.JSONDecodeError as error:
        raise UserError(
            f'{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}; '
            + (BACKSLASHES if 'escape' in error.msg else 'it may be cut off, or a web page saved under this name')
            + '.'
        ) from None
    except UnicodeDecodeError as error:
        utf16 = error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        reason = 'it is UTF-16 text; save it as UTF-8' if utf16 else f'byte {error.start} is not UTF-8 text'
        raise UserError(f'{path} is not valid JSON: {reason}.') from None
    except RecursionError:
        raise UserError(f'{path} is not valid JSON: its brackets are nested too deeply.') from None


def decode_text(data: bytes) -> str:
    """Text in UTF-8, without the byte-order mark that some editors of Windows write first.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
    """
    return data.decode('utf-8-sig')


def longest_number(text: str) -> re.Match:
    """The longest run of digits in a JSON text that has a number."""
    return max(re.finditer(r'\d+', text), key=lambda found: len(found[0]))


def is_unicode(text: str) -> bool:
    """Whether a text is valid Unicode. JSON can have half of a surrogate pair, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def repeated_key(pairs: Sequence[tuple[str, Any]]) -> str:
    """An error message for a JSON object in which a key is given twice."""
    keys = [key for key, _ in pairs]
    return f'the key "{next(key for key in keys if keys.count(key) > 1)}" is given twice in one object'


def windows_path(path: str) -> str | None:
    """Why a path that was written on Windows cannot be found on this system; None if it has no such problem."""
    if os.sep == '\\' or not re.search(r'[\\\x00-\x1f]|(^|/)[A-Za-z]:/', path):
        return None
    if re.search(r'[\x00-\x1f]', path):
        return f'the path has a control character, such as "\\n" in "images\\new.jpg"; {BACKSLASHES}'
    if '\\' in path:
        return f'the path has backslashes, as on Windows; {BACKSLASHES}'
    return 'the path begins with a Windows drive letter; give a path relative to the folder of images'


def load_refs(path: str) -> Any:
    """Read refs from ``.json``, or from ``.p``, ``.pkl``, ``.pickle`` by the restricted unpickler."""
    ending = os.path.splitext(path)[1].lower()
    if ending == '.json':
        return load_json(path)
    if ending in PICKLE_ENDINGS:
        return load_plain_pickle(path, fileio.get(path))
    raise UserError(f'{path} ends in "{ending}": refs are read from .json, {", ".join(PICKLE_ENDINGS)}.')


class UnsafePickleError(UserError):
    """A pickle needs something other than plain containers, strings and numbers."""


class _PlainUnpickler(pickle.Unpickler):
    # Every class or function that a pickle uses goes through `find_class`; plain values have opcodes of their own.

    def find_class(self, module: str, name: str) -> Any:
        raise UnsafePickleError(f'{module}.{name}')


def load_plain_pickle(path: str, data: bytes | None = None) -> Any:
    """Load a pickle that consists of dicts, lists, tuples, sets, strings, bytes, numbers, booleans and None.

    Strings that Python 2 wrote become ``str``: as UTF-8, or as Latin-1 where they are not valid UTF-8.

    Args:
        path: The file; named in error messages.
        data: Its content, if it has been read already.

    Raises:
        UnsafePickleError: The file needs a class or function. No code from it has been run.
        ValueError: The file is not a pickle, or is cut off.
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
            f'{path} was refused: this pickle needs `{error}`, which could run code, but refs need only plain '
            'containers, strings and numbers; get the file from the REFER authors, or save it as JSON.'
        ) from None
    except Exception as error:  # malformed pickles raise nearly every built-in exception
        raise UserError(
            f'{path} is not a readable pickle ({type(error).__name__}: {error}); it may be cut off, or a '
            'web page saved under this name: download it again.'
        ) from None

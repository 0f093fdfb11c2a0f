"""Whether mmcv has its compiled ops, and a placeholder for them.

``mmcv.ops`` and with it mmdet and mmseg cannot be imported without the compiled module ``mmcv._ext``, although
mmuniqrnet calls none of its functions. Compiling it takes 10 to 15 minutes and a compiler; the placeholder takes
neither.
"""

import base64
import csv
import hashlib
import importlib.machinery
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from mmuniqrnet.utils.errors import MissingFileError, OverwriteError

# Distribution names of mmcv, with the version that is tested.
TESTED_MMCV = {'onedl': 'onedl-mmcv==2.3.6', 'openmmlab': 'mmcv==2.1.0'}

# A module and not a package: Python prefers a compiled `_ext` to `_ext.py`, so this file never hides compiled ops.
PLACEHOLDER = '''"""Placeholder for mmcv's compiled ops, written by mmuniqrnet: every function raises."""

IS_MMUNIQRNET_PLACEHOLDER = True


def get_compiler_version():
    return 'none: mmcv without compiled ops'


get_compiling_cuda_version = get_compiler_version


def __getattr__(name):
    if name.startswith('__'):
        raise AttributeError(name)

    def function(*args, **kwargs):
        raise RuntimeError(
            f"mmcv's compiled op {{name!r}} is not available, because mmcv was installed without compiled ops: "
            'build them with `make env OPS=1`, or outside make with `{build}`.'
        )

    return function
'''


def build_command(stack: str) -> str:
    """The command that builds mmcv with its compiled ops; torch must be installed already."""
    return (
        'pip install "setuptools>=77,<80" ninja psutil && MMCV_WITH_OPS=1 CFLAGS="-g0 -O1" pip install '
        f'--no-build-isolation --no-deps --force-reinstall --no-cache-dir {TESTED_MMCV[stack]}'
    )


def mmcv_folder() -> Path | None:
    """The folder of the installed mmcv, found without importing it."""
    spec = find_spec('mmcv')
    return Path(spec.origin).parent if spec and spec.origin else None


def mmcv_ops() -> Literal['compiled', 'placeholder', 'missing']:
    """What is installed as ``mmcv._ext``, found from file names and the placeholder's marker, without importing it."""
    folder = mmcv_folder()
    if folder is None:
        return 'missing'
    if any((folder / f'_ext{suffix}').exists() for suffix in importlib.machinery.EXTENSION_SUFFIXES):
        return 'compiled'
    source = folder / '_ext.py'
    if source.is_file() and 'IS_MMUNIQRNET_PLACEHOLDER = True' in source.read_text(encoding='utf-8'):
        return 'placeholder'
    return 'missing'


def write_placeholder() -> Path:
    """Write ``mmcv/_ext.py`` where mmcv has no compiled ops, and return its path.

    The file is added to mmcv's list of installed files, so that pip removes it when it installs another mmcv, such as
    one with compiled ops.

    Raises:
        FileNotFoundError: mmcv is not installed.
        FileExistsError: mmcv has compiled ops, or an ``_ext.py`` from elsewhere.
    """
    folder = mmcv_folder()
    if folder is None:
        raise MissingFileError('mmcv is not installed')
    path = folder / '_ext.py'
    state = mmcv_ops()
    if state == 'compiled':
        raise OverwriteError(f'mmcv has its compiled ops already ({folder})')
    if state == 'missing' and path.exists():
        raise OverwriteError(f'{path} exists, and mmuniqrnet did not write it')
    stack, record = _owner()
    content = PLACEHOLDER.format(build=build_command(stack)).encode()
    if record is not None:
        name = f'{folder.name}/{path.name}'
        with open(record, newline='', encoding='utf-8') as file:
            rows = [row for row in csv.reader(file) if row and row[0] != name]
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()
        rows.append([name, f'sha256={digest}', str(len(content))])
        # The list is written first: pip accepts a listed file that is missing, but does not remove an unlisted one.
        fresh = record.with_name('RECORD.new')
        with open(fresh, 'w', newline='', encoding='utf-8') as file:
            csv.writer(file, lineterminator='\n').writerows(rows)
        fresh.replace(record)
    path.write_bytes(content)
    return path


def _owner() -> tuple[str, Path | None]:
    """The stack that is installed, and the file in which pip keeps mmcv's list of files, if pip installed it."""
    stack = 'onedl' if _distribution('onedl-mmengine') else 'openmmlab'
    distribution = _distribution(TESTED_MMCV[stack].partition('==')[0])
    files = distribution.files if distribution else None
    record = next((file for file in files or () if file.name == 'RECORD'), None)
    return stack, Path(str(record.locate())) if record else None


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None

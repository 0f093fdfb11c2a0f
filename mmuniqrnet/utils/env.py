"""What is installed, what is wrong with it and how to fix it: ``python -m mmuniqrnet.env``.

The check at import reads only metadata and file names, which takes milliseconds; the command also imports the compiled
parts.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from .mmcv_ops import build_command, mmcv_ops, write_placeholder

STACKS = {
    'onedl': ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation'),
    'openmmlab': ('mmengine', 'mmcv', 'mmdet', 'mmsegmentation'),
}
MODULES = dict(zip(STACKS['openmmlab'], ('mmengine', 'mmcv', 'mmdet', 'mmseg')))
REQUIRED = ('torch', 'transformers', 'numpy', 'pycocotools')
OTHERS = (*REQUIRED, 'opencv-python')
# For a package that can be imported but has no metadata, so that its version is not known.
UNKNOWN = 'unknown'

# The versions that work, and the fix if another one is installed.
WORKS = {
    'mmcv': ('>=2.1', f'`{build_command("openmmlab")}`'),
    'onedl-mmcv': ('>=2.3', f'`{build_command("onedl")}`'),
    'mmdet': ('>=3.1', '`pip install mmdet==3.3.0`'),
    'mmsegmentation': ('>=1.1', '`pip install mmsegmentation==1.2.2`'),
    'torch': ('>=2.1', 'install a newer torch and then build mmcv again for it'),
    'transformers': ('>=4.40', '`pip install "transformers>=4.40,<6"`'),
    'pycocotools': ('>=2.0.7', '`pip install "pycocotools>=2.0.7"`'),
}

OPS = {
    'compiled': 'with compiled ops',
    'placeholder': 'without compiled ops',
    'missing': 'neither with compiled ops nor with a placeholder for them',
}
WITHOUT_OPS = '`python -m mmuniqrnet.env --without-ops`'


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what to do about it; only a fatal one stops ``import mmuniqrnet``."""

    what: str
    fix: str
    fatal: bool = True

    def __str__(self) -> str:
        return f'{self.what}: {self.fix}.'


@dataclass(frozen=True)
class Installation:
    """The facts that :func:`find_problems` judges. ``versions`` has one key for each distribution found."""

    versions: Mapping[str, str]
    mmcv_ops: str = 'compiled'
    compiler: bool = True
    python: tuple[int, ...] = tuple(sys.version_info[:3])

    @property
    def stack(self) -> str:
        return 'openmmlab' if any(name in self.versions for name in STACKS['openmmlab']) else 'onedl'

    @property
    def mmcv(self) -> str:
        """The distribution name of this stack's mmcv."""
        return STACKS[self.stack][1]

    def has(self, name: str, versions: str = '') -> bool:
        """Whether ``name`` is installed in a known version within ``versions``, such as ``'>=2.1,<3'``.

        Pre-releases and local builds count as the release that they are named after.
        """
        version = self.versions.get(name, UNKNOWN)
        return version != UNKNOWN and SpecifierSet(versions).contains(Version(version).base_version)


def find_problems(found: Installation) -> list[Problem]:
    """Judge an installation, fatal problems first."""
    versions, stack = found.versions, found.stack
    problems = []
    if not (3, 10) <= found.python[:2] <= (3, 12):
        problems.append(
            Problem(
                f'Python {".".join(map(str, found.python))} is running and mmuniqrnet is made for 3.10 to 3.12',
                'name another one, as in `make env PYTHON=python3.11`',
                fatal=found.python < (3, 10),
            )
        )

    present = {stack: [name for name in names if name in versions] for stack, names in STACKS.items()}
    if all(present.values()):
        both = present['onedl'] + present['openmmlab']
        problems.append(
            Problem(
                f'Two OpenMMLab stacks are installed over each other ({", ".join(both)})',
                f'`pip uninstall -y {" ".join(both)}`, then install one of them, or make a fresh environment with '
                '`make env STACK=onedl`',
            )
        )
        return problems

    missing = [name for name in (*STACKS[stack], *REQUIRED) if name not in versions]
    if missing:
        mmcv = f'; mmcv with its compiled ops: `{build_command(stack)}`' if found.mmcv in missing else ''
        problems.append(
            Problem(
                f'Not installed: {", ".join(missing)}',
                f'`make env STACK={stack}` makes an environment that has everything, or `pip install` them here{mmcv}',
            )
        )
    for name, (works, fix) in WORKS.items():
        if found.has(name) and not found.has(name, works):
            problems.append(
                Problem(f'{name} {versions[name]} is too old, mmuniqrnet needs {works.strip(">=")} or later', fix)
            )
    if found.has('mmcv', '>=2.2'):
        problems.append(
            Problem(
                f'mmcv {versions["mmcv"]} is installed, and mmdet 3.3 and mmsegmentation 1.2 refuse mmcv 2.2 and later',
                f'`{build_command("openmmlab")}`, or use the forks with `make env STACK=onedl`',
            )
        )
    if found.has('transformers', '>=5') and found.has('torch', '>=2.1,<2.6'):
        problems.append(
            Problem(
                f'transformers {versions["transformers"]} works with torch 2.6 or later only, and torch '
                f'{versions["torch"]} is installed',
                '`pip install "transformers>=4.40,<5"`, or install a newer torch',
            )
        )
    if found.has('numpy', '>=2') and found.has('torch', '>=2.1,<2.3'):
        problems.append(
            Problem(
                f'torch {versions["torch"]} was compiled for numpy 1, and numpy {versions["numpy"]} is installed',
                '`pip install "numpy<2"`',
            )
        )
    if found.mmcv in versions and found.mmcv_ops == 'missing':
        problems.append(
            Problem(
                f'{found.mmcv} {versions[found.mmcv]} has no compiled ops, and mmdet cannot be imported without them',
                f'{WITHOUT_OPS} puts a placeholder in their place, which is enough for mmuniqrnet; or build them (10 '
                f'to 15 minutes on 2 cores): `{build_command(stack)}`',
            )
        )
        if not found.compiler:
            problems.append(
                Problem(
                    "No C++ compiler was found, and building mmcv's ops needs one",
                    '`apt-get install g++` (or set CXX to the compiler)',
                    fatal=False,
                )
            )
    return sorted(problems, key=lambda problem: not problem.fatal)


def inspect_installation() -> Installation:
    """Collect the facts about this Python environment, without importing the packages that are checked."""
    versions = {}
    for name in (*STACKS['onedl'], *STACKS['openmmlab'], *OTHERS):
        try:
            versions[name] = str(Version(metadata.version(name)))
        except (InvalidVersion, TypeError):
            versions[name] = UNKNOWN
        except metadata.PackageNotFoundError:
            pass
    for forked, upstream in zip(*STACKS.values()):
        if forked not in versions and upstream not in versions and find_spec(MODULES[upstream]) is not None:
            versions[forked if any(name in versions for name in STACKS['onedl']) else upstream] = UNKNOWN
    for name in REQUIRED:
        if name not in versions and find_spec(name) is not None:
            versions[name] = UNKNOWN
    compiler = any(shutil.which(name) for name in ('c++', 'g++', 'clang++'))
    return Installation(versions=versions, mmcv_ops=mmcv_ops(), compiler=compiler)


def find_load_problems(found: Installation) -> list[Problem]:
    """Import the compiled parts (takes seconds), to find missing system libraries, or mmcv built for another torch."""
    parts = {
        'cv2': ('OpenCV cannot be loaded', '`apt-get install libgl1 libglib2.0-0`'),
        'torch': ('torch cannot be loaded', 'install torch again'),
        'mmcv._ext': (
            "mmcv's compiled ops cannot be loaded; they only fit the torch they were built with",
            f'`{build_command(found.stack)}`',
        ),
    }
    problems = []
    for module, (what, fix) in parts.items():
        try:
            import_module(module)
        except Exception as error:
            problems.append(Problem(f'{what} ({type(error).__name__}: {str(error).splitlines()[0]})', fix))
    return problems


def require_working_installation() -> None:
    """Raise an ImportError, with one sentence, for the first fatal problem, if any."""
    for problem in find_problems(inspect_installation()):
        if problem.fatal:
            raise ImportError(f'{problem} See `python -m mmuniqrnet.env`.')


def report() -> int:
    """Print versions and problems; the exit status is 1 if one of the problems is fatal."""
    from mmuniqrnet.version import __version__

    found = inspect_installation()
    print(f'mmuniqrnet {__version__}')
    print(f'python {".".join(map(str, found.python))} ({sys.executable})')
    for name, version in found.versions.items():
        print(f'{name} {version}' + (f', {OPS[found.mmcv_ops]}' if name == found.mmcv else ''))
    if found.mmcv_ops == 'placeholder':
        print(
            '\nmmcv without compiled ops is enough for mmuniqrnet. Models that call them, such as the Mask R-CNN of '
            f'the pre-training, need `make env OPS=1`, or outside make `{build_command(found.stack)}`.'
        )
    problems = find_problems(found)
    if not any(problem.fatal for problem in problems):
        problems = find_load_problems(found) + problems
    for problem in problems:
        print(f'\n{"wrong" if problem.fatal else "note"}: {problem.what}\n  fix: {problem.fix}')
    if not problems:
        print('\nNo problems found.')
    return int(any(problem.fatal for problem in problems))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python -m mmuniqrnet.env', description='Print what is installed, what is wrong with it, and the fix.'
    )
    parser.add_argument(
        '--without-ops',
        action='store_true',
        help="first put a placeholder in the place of mmcv's compiled ops, if mmcv was installed without them",
    )
    if parser.parse_args().without_ops and mmcv_ops() != 'placeholder':
        try:
            print(f'wrote {write_placeholder()}\n')
        except OSError as error:
            print(f'No placeholder was written: {error}.\n')
    return report()

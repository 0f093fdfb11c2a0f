"""What is installed, what is wrong with it and how to mend it: ``python -m mmuniqrnet.env``.

The check at import reads only metadata and file names, so it takes milliseconds; the command also imports the compiled
parts.
"""

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

STACKS = {
    'onedl': ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation'),
    'openmmlab': ('mmengine', 'mmcv', 'mmdet', 'mmsegmentation'),
}
MODULES = dict(zip(STACKS['openmmlab'], ('mmengine', 'mmcv', 'mmdet', 'mmseg')))
OTHERS = ('torch', 'transformers', 'numpy', 'pycocotools', 'opencv-python')
TESTED_MMCV = {'onedl': 'onedl-mmcv==2.3.6', 'openmmlab': 'mmcv==2.1.0'}
# Found as a folder on the path, without metadata: it is there, its version is not known.
UNKNOWN = 'unknown'


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what to do about it; only a fatal one stops ``import mmuniqrnet``."""

    what: str
    mend: str
    fatal: bool = True

    def __str__(self) -> str:
        return f'{self.what}: {self.mend}.'


@dataclass(frozen=True)
class Installation:
    """The facts that :func:`find_problems` judges. ``versions`` has one key a distribution found."""

    versions: Mapping[str, str]
    mmcv_has_ops: bool = True
    compiler: bool = True
    python: tuple[int, ...] = tuple(sys.version_info[:3])


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version before any suffix: '2.2.0rc1+cpu' -> (2, 2, 0)."""
    return tuple(int(part) for part in re.match(r'\d+(?:\.\d+)*', version)[0].split('.'))


def build_mmcv(stack: str) -> str:
    """The command that builds mmcv with its ops."""
    return (
        'MMCV_WITH_OPS=1 CFLAGS="-g0 -O1" pip install --no-build-isolation --no-deps --force-reinstall '
        f'--no-cache-dir {TESTED_MMCV[stack]}'
    )


def find_problems(found: Installation) -> list[Problem]:
    """Judge an installation, the gravest first."""
    versions = found.versions

    def older(name: str, *limit: int) -> bool:
        return name in versions and versions[name] != UNKNOWN and release(versions[name]) < limit

    def at_least(name: str, *limit: int) -> bool:
        return name in versions and versions[name] != UNKNOWN and release(versions[name]) >= limit

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
    stack = 'openmmlab' if present['openmmlab'] else 'onedl'

    missing = [name for name in (*STACKS[stack], *OTHERS[:4]) if name not in versions]
    if missing:
        mmcv = f'; mmcv with its ops: `{build_mmcv(stack)}`' if STACKS[stack][1] in missing else ''
        problems.append(
            Problem(
                f'Not installed: {", ".join(missing)}',
                f'`make env STACK={stack}` makes an environment that has all, or `pip install` them here{mmcv}',
            )
        )

    if at_least('mmcv', 2, 2) and present['openmmlab']:
        problems.append(
            Problem(
                f'mmcv {versions["mmcv"]} is installed, and mmdet 3.3 and mmsegmentation 1.2 refuse mmcv 2.2 and later',
                f'`{build_mmcv("openmmlab")}`, or use the forks with `make env STACK=onedl`',
            )
        )
    elif older('mmcv', 2, 1) or older('onedl-mmcv', 2, 3):
        name = STACKS[stack][1]
        problems.append(Problem(f'{name} {versions[name]} is too old', f'`{build_mmcv(stack)}`'))
    if not found.mmcv_has_ops and STACKS[stack][1] in versions:
        name = STACKS[stack][1]
        problems.append(
            Problem(
                f'{name} {versions[name]} was built without its compiled ops, and mmdet cannot be imported without them',
                f'with torch installed, `{build_mmcv(stack)}` (10 to 15 minutes on 2 cores)',
            )
        )
    if older('mmdet', 3, 1):
        problems.append(Problem(f'mmdet {versions["mmdet"]} is too old', '`pip install mmdet==3.3.0`'))
    if older('mmsegmentation', 1, 1):
        problems.append(
            Problem(f'mmsegmentation {versions["mmsegmentation"]} is too old', '`pip install mmsegmentation==1.2.2`')
        )

    if older('torch', 2, 1):
        problems.append(
            Problem(
                f'torch {versions["torch"]} is too old, mmuniqrnet needs 2.1 or later',
                'install a newer torch and then build mmcv again for it',
            )
        )
    elif at_least('transformers', 5) and older('torch', 2, 6):
        problems.append(
            Problem(
                f'transformers {versions["transformers"]} works with torch 2.6 or later only, and torch '
                f'{versions["torch"]} is installed',
                '`pip install "transformers>=4.40,<5"`, or install a newer torch',
            )
        )
    if older('transformers', 4, 40):
        problems.append(
            Problem(
                f'transformers {versions["transformers"]} is too old, mmuniqrnet needs 4.40 or later',
                '`pip install "transformers>=4.40,<6"`',
            )
        )
    if at_least('numpy', 2) and older('torch', 2, 3) and not older('torch', 2, 1):
        problems.append(
            Problem(
                f'torch {versions["torch"]} was compiled for numpy 1, and numpy {versions["numpy"]} is installed',
                '`pip install "numpy<2"`',
            )
        )
    if older('pycocotools', 2, 0, 7):
        problems.append(
            Problem(f'pycocotools {versions["pycocotools"]} is too old', '`pip install "pycocotools>=2.0.7"`')
        )
    if not found.compiler and not (found.mmcv_has_ops and STACKS[stack][1] in versions):
        problems.append(
            Problem(
                'No C++ compiler was found, and mmcv is compiled when it is installed',
                '`apt-get install g++` (or set CXX to the compiler)',
                fatal=False,
            )
        )
    return sorted(problems, key=lambda problem: not problem.fatal)


def inspect_installation() -> Installation:
    """Look at this Python, without importing anything of what is checked."""
    versions = {}
    for name in (*STACKS['onedl'], *STACKS['openmmlab'], *OTHERS):
        try:
            versions[name] = metadata.version(name) or UNKNOWN
        except metadata.PackageNotFoundError:
            pass
    for forked, upstream in zip(*STACKS.values()):
        if forked not in versions and upstream not in versions and find_spec(MODULES[upstream]) is not None:
            versions[forked if any(name in versions for name in STACKS['onedl']) else upstream] = UNKNOWN
    for name in OTHERS[:4]:
        if name not in versions and find_spec(name) is not None:
            versions[name] = UNKNOWN
    mmcv = find_spec('mmcv')
    has_ops = (
        any(list(Path(folder).glob('_ext*')) for folder in (mmcv.submodule_search_locations or ())) if mmcv else False
    )
    compiler = any(shutil.which(name) for name in ('c++', 'g++', 'clang++'))
    return Installation(versions=versions, mmcv_has_ops=has_ops, compiler=compiler)


def find_load_problems(found: Installation) -> list[Problem]:
    """Import the compiled parts for real (seconds): a missing system library, or mmcv compiled for another torch."""
    stack = 'openmmlab' if 'mmcv' in found.versions else 'onedl'
    mends = {
        'cv2': ('OpenCV cannot be loaded', '`apt-get install libgl1 libglib2.0-0`'),
        'torch': ('torch cannot be loaded', 'install torch again'),
        'mmcv._ext': (
            "mmcv's compiled ops cannot be loaded; they only fit the torch they were built with",
            f'`{build_mmcv(stack)}`',
        ),
    }
    problems = []
    for module, (what, mend) in mends.items():
        try:
            import_module(module)
        except Exception as error:
            problems.append(Problem(f'{what} ({type(error).__name__}: {str(error).splitlines()[0]})', mend))
    return problems


def require_working_installation() -> None:
    """Raise an ImportError of one sentence for the gravest fatal problem, if there is any."""
    for problem in find_problems(inspect_installation()):
        if problem.fatal:
            raise ImportError(f'{problem} See `python -m mmuniqrnet.env`.')


def main() -> int:
    """Print versions and problems; the exit status is 1 if one of them is fatal."""
    from .version import __version__

    found = inspect_installation()
    print(f'mmuniqrnet {__version__}')
    print(f'python {".".join(map(str, found.python))} ({sys.executable})')
    for name, version in found.versions.items():
        print(f'{name} {version}')
    problems = find_problems(found)
    if not any(problem.fatal for problem in problems):
        problems = find_load_problems(found) + problems
    for problem in problems:
        print(f'\n{"wrong" if problem.fatal else "note"}: {problem.what}\n mend: {problem.mend}')
    if not problems:
        print('\nAll is well.')
    return int(any(problem.fatal for problem in problems))


if __name__ == '__main__':
    sys.exit(main())

"""Make, repair or remove the virtual environment of the Makefile: ``python tools/make_env.py --venv .venv-onedl``.

The folder holds a mark that says which stack it is for and, written last of all, what the finished environment was
made from. Where that is missing or differs, every step runs again; pip skips what is there, and what an interrupted
pip left half-written is removed first.
"""

import sys

if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit(
        'Python {}.{} was named, and mmuniqrnet is made for 3.10 to 3.12: name another one, as in '
        '`make env PYTHON=python3.11`.'.format(*sys.version_info[:2])
    )

import argparse
import csv
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STACKS = ('onedl', 'openmmlab')
MARK = 'mmuniqrnet-env.json'
LOG = 'mmuniqrnet-env.log'


def say(text: str) -> None:
    print(f'[env] {text}', flush=True)


def requirement_files(stack: str) -> list[Path]:
    names = ('build', 'torch', 'common', 'test', stack, f'{stack}-nodeps')
    return [path for name in names if (path := ROOT / 'requirements' / f'{name}.txt').exists()]


def recipe(stack: str, torch_index: str) -> str:
    """One hash of all that a finished environment depends on, this checkout's place included (it is linked)."""
    parts = [stack, torch_index, '.'.join(map(str, sys.version_info[:2])), str(ROOT)]
    parts += [path.read_text() for path in (*requirement_files(stack), ROOT / 'setup.py')]
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()


class Environment:
    """A folder that this program may fill, mend and remove, and no other."""

    def __init__(self, folder: Path, stack: str) -> None:
        self.folder = folder
        self.stack = stack
        self.python = folder / 'bin' / 'python'
        self.site = folder / 'lib' / 'python{}.{}'.format(*sys.version_info[:2]) / 'site-packages'

    def mark(self) -> dict:
        try:
            return json.loads((self.folder / MARK).read_text())
        except (OSError, ValueError):
            return {}

    def write_mark(self, finished: str) -> None:
        fresh = self.folder / f'{MARK}.new'
        fresh.write_text(json.dumps(dict(stack=self.stack, finished=finished)))
        fresh.replace(self.folder / MARK)

    def claim(self) -> None:
        """Refuse a folder that is someone else's, or the other stack's."""
        if self.folder.exists() and not self.folder.is_dir():
            sys.exit(f'{self.folder} is not a folder: name another one with VENV=.')
        ours = (MARK, f'{MARK}.new')
        if self.folder.is_dir() and (set(os.listdir(self.folder)) - set(ours)) and not (self.folder / MARK).exists():
            sys.exit(f'{self.folder} holds files that `make` did not put there: name another folder with VENV=.')
        if (holds := self.mark().get('stack', self.stack)) != self.stack:
            sys.exit(
                f'{self.folder} holds STACK={holds}, and the two stacks overwrite each other in one environment: '
                f'give STACK={holds}, or another folder with VENV=.'
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            sys.exit(f'{self.folder} cannot be made ({error.strerror}): name another folder with VENV=.')

    def lock(self) -> int:
        """Take the folder's lock. pip inherits it: while an orphaned pip still runs, the next `make` waits for it."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f'another `make`, or what one left running, is at work in {self.folder}: waiting for it')
            fcntl.flock(handle, fcntl.LOCK_EX)
        return handle

    def ask(self, code: str) -> str | None:
        """What the environment's Python prints for ``code``, or None if it fails."""
        try:
            done = subprocess.run(
                [self.python, '-c', code], capture_output=True, text=True, cwd=self.folder, env=child_variables()
            )
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def empty(self) -> None:
        for path in self.folder.iterdir():
            if path.name in (MARK, LOG):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def remove_half_written(self) -> list[str]:
        """Forget each package that an interrupted pip left incomplete, so that pip installs it again.

        pip writes INSTALLER after a package's files, and trusts a package whose metadata is there.
        """
        removed = []
        for leftover in self.site.glob('~*'):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        for info in sorted(self.site.glob('*.dist-info')):
            if not is_whole(info):
                shutil.rmtree(info)
                removed.append(info.name.removesuffix('.dist-info'))
        return removed


def is_whole(info: Path) -> bool:
    """Whether every file that a package's RECORD lists is there in its full size.

    Compiled files aside: numpy ships one, which Python replaces with its own.
    """
    if not (info / 'INSTALLER').exists() or not (info / 'RECORD').exists():
        return False
    with open(info / 'RECORD', newline='', encoding='utf-8') as file:
        for row in csv.reader(file):
            if len(row) == 3 and row[2] and not row[0].endswith('.pyc'):
                try:
                    if (info.parent / row[0]).stat().st_size != int(row[2]):
                        return False
                except (OSError, ValueError):
                    return False
    return True


class Steps:
    """Runs the commands one after the other, with their output in a log and their time on the screen."""

    def __init__(self, env: Environment, lock: int, count: int) -> None:
        self.env, self.lock, self.count = env, lock, count
        self.number = 0

    def run(self, title: str, usual: str, command: list, **variables: str) -> None:
        self.number += 1
        say(f'{self.number}/{self.count} {title} (usually {usual})')
        begin = time.monotonic()
        with open(self.env.folder / LOG, 'a') as log:
            log.write(f'\n$ {" ".join(map(str, command))}\n')
            log.flush()
            offset = log.tell()
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                pass_fds=[self.lock],
                env=child_variables() | variables,
            )
            try:
                while True:
                    try:
                        code = process.wait(timeout=60)
                        break
                    except subprocess.TimeoutExpired:
                        say(f'    still at it after {time.monotonic() - begin:.0f} s')
            except KeyboardInterrupt:
                process.terminate()
                process.wait()
                raise
        if code:
            with open(self.env.folder / LOG, encoding='utf-8', errors='replace') as log:
                log.seek(offset)
                tail = log.read().splitlines()[-25:]
            print('\n'.join(tail), flush=True)
            sys.exit(
                f'"{title}" failed; the whole output is in {self.env.folder / LOG}. When it is mended, the same '
                '`make` command goes on from here.'
            )
        say(f'    {time.monotonic() - begin:.0f} s')

    def pip(self, title: str, usual: str, *arguments: str, **variables: str) -> None:
        command = [self.env.python, '-m', 'pip', 'install', '--disable-pip-version-check', *arguments]
        self.run(title, usual, command, **variables)


def child_variables() -> dict[str, str]:
    """The user's variables without those that would lead pip or Python out of the environment."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ('PYTHONPATH', 'PYTHONHOME', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_USER')
    }


def mmcv_variables() -> dict[str, str]:
    variables = dict(MMCV_WITH_OPS='1', CFLAGS='-g0 -O1')
    nvcc = shutil.which('nvcc') or (Path(os.environ.get('CUDA_HOME', '/usr/local/cuda')) / 'bin' / 'nvcc').exists()
    if not nvcc:
        # With a GPU in sight mmcv's build asks for nvcc; mmuniqrnet needs none of the CUDA ops.
        variables['CUDA_VISIBLE_DEVICES'] = ''
    return variables


def require_tools() -> None:
    """One sentence for each thing that the machine itself lacks."""
    version = '{}.{}'.format(*sys.version_info[:2])
    for module in ('venv', 'ensurepip'):
        if importlib.util.find_spec(module) is None:
            sys.exit(
                f'{sys.executable} has no {module} module: `apt-get install python{version}-venv`, or name '
                'another Python with PYTHON=.'
            )
    compiler = os.environ.get('CXX', 'g++')
    if shutil.which(compiler.split()[0]) is None:
        sys.exit(
            f'No C++ compiler ({compiler}) was found, and mmcv is compiled when it is installed: '
            '`apt-get install g++`, or set CXX.'
        )
    if not (Path(sysconfig.get_paths()['include']) / 'Python.h').exists():
        sys.exit(
            f'{sys.executable} has no header files, and mmcv is compiled with them: '
            f'`apt-get install python{version}-dev`.'
        )


def make_venv(env: Environment, steps: Steps) -> None:
    """Make the bare environment, or make it again where its Python or its pip does not work."""
    wanted = '{}.{}'.format(*sys.version_info[:2])
    if (env.folder / 'pyvenv.cfg').exists():
        holds = env.ask('import sys, pip; print("{}.{}".format(*sys.version_info[:2]))')
        if holds == wanted:
            steps.number += 1
            return
        say(
            f'the Python or the pip in {env.folder} does not work: making it again'
            if holds is None
            else f'{env.folder} is made with Python {holds}, not {wanted}: making it again'
        )
    if (env.folder / 'lib').exists():
        say('removing what is there (up to a minute or two)')
    env.empty()
    steps.run(
        f'virtual environment {env.folder}, Python {wanted}',
        '5 to 20 seconds',
        [sys.executable, '-m', 'venv', env.folder],
    )


def install(env: Environment, steps: Steps, torch_index: str) -> None:
    requirements = ROOT / 'requirements'
    steps.pip('pip and build tools', '10 seconds', '-r', requirements / 'build.txt')
    index = ['--index-url', torch_index] if torch_index else []
    steps.pip('torch', '1 to 10 minutes, by the network', *index, '-r', requirements / 'torch.txt')
    steps.pip(
        'transformers, pycocotools, pytest and others',
        '1 minute',
        '-r',
        requirements / 'common.txt',
        '-r',
        requirements / 'test.txt',
    )
    steps.pip(
        f"OpenMMLab stack {env.stack}, with mmcv's ops compiled",
        "10 to 15 minutes on 2 cores the first time, 1 minute from pip's cache",
        '--no-build-isolation',
        '-r',
        requirements / f'{env.stack}.txt',
        **mmcv_variables(),
    )
    if (nodeps := requirements / f'{env.stack}-nodeps.txt').exists():
        steps.pip(
            'packages without their declared needs', '20 seconds', '--no-build-isolation', '--no-deps', '-r', nodeps
        )
    if env.ask('import torch, mmcv._ext') is None:
        say("pip's cache held an mmcv without ops, or made for another torch: building it again")
        text = (requirements / f'{env.stack}.txt').read_text()
        pin = re.search(r'^(?:onedl-)?mmcv==\S+', text, re.MULTILINE)[0]
        steps.number -= 1
        steps.pip(
            'mmcv with its ops',
            '10 to 15 minutes on 2 cores',
            '--no-build-isolation',
            '--no-deps',
            '--force-reinstall',
            '--no-cache-dir',
            pin,
            **mmcv_variables(),
        )
    steps.pip(
        'mmuniqrnet, linked to this checkout',
        '5 seconds',
        '--no-build-isolation',
        '--no-deps',
        '--no-use-pep517',
        '-e',
        '.',
    )
    steps.run('check of the whole', '10 seconds', [env.python, '-m', 'mmuniqrnet.env'])


def make(folder: Path, stack: str, torch_index: str) -> None:
    begin = time.monotonic()
    env = Environment(folder, stack)
    env.claim()
    lock = env.lock()
    env.claim()
    wanted = recipe(stack, torch_index)
    if env.mark().get('finished') == wanted and env.ask('import mmuniqrnet') is not None:
        say(f'{folder} is ready (STACK={stack})')
        return
    require_tools()
    say(f'setting up {folder} (STACK={stack}); it may be interrupted, and goes on where it was')
    fresh = not (folder / 'pyvenv.cfg').exists()
    env.write_mark(finished='')
    steps = Steps(env, lock, count=8 if (ROOT / 'requirements' / f'{stack}-nodeps.txt').exists() else 7)
    removed = [] if fresh else env.remove_half_written()
    if removed:
        say(f'left incomplete, to be installed again: {", ".join(removed)}')
    make_venv(env, steps)
    install(env, steps, torch_index)
    env.write_mark(finished=wanted)
    say(f'{folder} is ready, after {time.monotonic() - begin:.0f} s')


def remove(folder: Path) -> None:
    if not (folder / MARK).exists():
        return
    env = Environment(folder, stack='')
    env.lock()
    # The mark goes last: an interrupted removal can be taken up again.
    env.empty()
    for name in (LOG, MARK):
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()
    say(f'removed {folder}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--venv', type=Path, required=True, help='folder of the virtual environment')
    parser.add_argument('--stack', default='onedl')
    parser.add_argument('--torch-index', default='', help='package index for torch alone')
    parser.add_argument('--remove', action='store_true', help='remove the environment instead, if it is ours')
    options = parser.parse_args()
    folder = Path(os.path.abspath(options.venv))
    if options.remove:
        return remove(folder)
    if options.stack not in STACKS:
        sys.exit(f'STACK={options.stack} is not known: give STACK=onedl or STACK=openmmlab.')
    try:
        make(folder, options.stack, options.torch_index)
    except KeyboardInterrupt:
        say('interrupted; the same `make` command goes on from here')
        sys.exit(130)


if __name__ == '__main__':
    main()

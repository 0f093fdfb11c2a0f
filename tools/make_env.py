"""Make, update or remove the virtual environment of the Makefile: ``python tools/make_env.py --venv .venv-onedl``.

It is light at first: mmcv without compiled ops, which take a compiler and 10 minutes. ``--ops`` adds them in place. A
mark in the folder says what the environment was made from and which step is running; after an interrupted step it is
made again from the start, which pip's cache makes fast.

pip and not uv: uv ignores pip's settings, from which a machine may get its package index and its torch.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / 'requirements'
STACKS = ('onedl', 'openmmlab')
MARK = 'mmuniqrnet-env.json'
PYTHON = '{}.{}'.format(*sys.version_info[:2])
LOAD_OPS = 'import torch, mmcv._ext as ext; assert not hasattr(ext, "IS_MMUNIQRNET_PLACEHOLDER")'
# Without what would lead pip or Python out of the environment.
FOREIGN = ('PYTHONPATH', 'PYTHONHOME', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_USER')
VARIABLES = {name: value for name, value in os.environ.items() if name not in FOREIGN}


class Environment:
    """A folder that this program may fill, empty and remove, and no other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, folder / 'bin' / 'python'
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            sys.exit(f'{folder} cannot be made ({error.strerror}): name another folder with VENV=.')
        if not (folder / MARK).exists() and set(os.listdir(folder)) - {f'{MARK}.new'}:
            sys.exit(f'{folder} holds files that `make` did not put there: name another folder with VENV=.')
        # pip inherits the lock: while one still runs whose `make` was killed, the next `make` waits for it.
        self.lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f'another `make`, or a process that one left running, is working in {folder}: waiting for it')
            fcntl.flock(self.lock, fcntl.LOCK_EX)

    def read_mark(self) -> dict:
        try:
            return json.loads((self.folder / MARK).read_text())
        except (OSError, ValueError):
            return {}

    def write_mark(self, **changes: object) -> None:
        fresh = self.folder / f'{MARK}.new'
        fresh.write_text(json.dumps(self.read_mark() | changes))
        fresh.replace(self.folder / MARK)

    def empty(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != MARK:
                path.unlink()

    def runs(self, code: str) -> bool:
        """Whether the environment's Python runs ``code`` without an error."""
        command = [self.python, '-c', code]
        return (
            self.python.exists()
            and not subprocess.run(command, cwd=self.folder, env=VARIABLES, capture_output=True).returncode
        )

    def step(self, title: str, usual: str, command: list, **variables: str) -> None:
        say(f'{title} (usually {usual})')
        begin, variables = time.monotonic(), VARIABLES | variables
        self.write_mark(running=title)
        done = subprocess.run(command, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, pass_fds=[self.lock])
        self.write_mark(running='')
        if done.returncode:
            sys.exit(f'"{title}" failed; the cause is above. Once it is fixed, the same `make` command continues.')
        say(f'    {time.monotonic() - begin:.0f} s')

    def pip(self, title: str, usual: str, *arguments: object, **variables: str) -> None:
        options = ['--quiet', '--disable-pip-version-check', '--no-input']
        self.step(title, usual, [self.python, '-m', 'pip', 'install', *options, *arguments], **variables)


def say(text: str) -> None:
    print(f'[env] {text}', flush=True)


def recipe(stack: str, torch_index: str) -> str:
    """One hash of all that an environment is made from, the path of this checkout included (it is linked)."""
    files = [REQUIREMENTS / f'{name}.txt' for name in ('build', 'torch', 'common', stack, f'{stack}-nodeps')]
    texts = [path.read_text() for path in (*files, ROOT / 'setup.py') if path.exists()]
    return hashlib.sha256('\0'.join([stack, torch_index, PYTHON, str(ROOT), *texts]).encode()).hexdigest()


def install(env: Environment, stack: str, torch_index: str) -> None:
    env.pip('pip and build tools', '5 seconds', '-r', REQUIREMENTS / 'build.txt')
    index = ['--index-url', torch_index] if torch_index else []
    env.pip('torch', '20 seconds and its download', *index, '-r', REQUIREMENTS / 'torch.txt')
    env.pip('transformers, matplotlib and others', '30 seconds', '-r', REQUIREMENTS / 'common.txt')
    with tempfile.TemporaryDirectory() as folder:
        # Both stacks' mmcv is built without ops where torch cannot be imported. It must not enter pip's cache, in
        # which a build with ops would find it.
        (Path(folder) / 'torch.py').write_text('raise ModuleNotFoundError("torch is hidden from the build of mmcv")')
        env.pip('mmcv', '5 seconds', *mmcv_options(stack), '--no-cache-dir', PYTHONPATH=folder)
    here = '--no-build-isolation'
    env.pip(f'OpenMMLab stack {stack}', '10 seconds', here, '-r', REQUIREMENTS / f'{stack}.txt')
    if (nodeps := REQUIREMENTS / f'{stack}-nodeps.txt').exists():
        env.pip('packages without their declared dependencies', '5 seconds', here, '--no-deps', '-r', nodeps)
    env.pip('mmuniqrnet, linked to this checkout', '5 seconds', here, '--no-deps', '-e', ROOT, PYTHONWARNINGS='ignore')


def mmcv_options(stack: str) -> list[str]:
    text = (REQUIREMENTS / f'{stack}.txt').read_text()
    return ['--no-build-isolation', '--no-deps', re.search(r'^(?:onedl-)?mmcv==\S+', text, re.MULTILINE)[0]]


def install_ops(env: Environment, stack: str, wheels: str) -> None:
    """Replace the mmcv without ops, by a wheel or by a build; pip removes the placeholder with it."""
    options = [*mmcv_options(stack), '--force-reinstall']
    if wheels:
        env.pip(f'mmcv from {wheels}', '5 seconds', *options, '--no-index', '--only-binary=:all:', '-f', wheels)
        return
    variables = dict(MMCV_WITH_OPS='1', CFLAGS='-g0 -O1')
    cuda = Path(os.environ.get('CUDA_HOME', '/usr/local/cuda'))
    if not shutil.which('nvcc') and not (cuda / 'bin' / 'nvcc').exists():
        variables['CUDA_VISIBLE_DEVICES'] = ''  # otherwise mmcv's build sees a GPU and asks for nvcc
    usual = "10 to 15 minutes on 2 cores, or 10 seconds from pip's cache"
    env.pip("mmcv's compiled ops", usual, *options, **variables)
    if not env.runs(LOAD_OPS):
        say("pip's cache held an mmcv without ops, or made for another torch")
        env.pip("mmcv's compiled ops", '10 to 15 minutes on 2 cores', *options, '--no-cache-dir', **variables)


def make(env: Environment, stack: str, ops: bool, torch_index: str, wheels: str) -> None:
    begin, mark, wanted = time.monotonic(), env.read_mark(), recipe(stack, torch_index)
    if (holds := mark.get('stack', stack)) != stack:
        sys.exit(
            f'{env.folder} holds STACK={holds}, and the two stacks overwrite each other in one environment: '
            f'give STACK={holds}, or another folder with VENV=.'
        )
    ops = ops or bool(wheels) or mark.get('ops', 'finished' in mark)  # older marks, with 'finished', had ops
    kind = f'STACK={stack}, mmcv {"with" if ops else "without"} compiled ops'
    if mark.get('recipe') == wanted and mark['ops'] == ops and env.runs('import mmuniqrnet'):
        return say(f'{env.folder} is ready ({kind})')
    compiler = os.environ.get('CXX', 'g++').split()[0]
    if ops and not wheels and shutil.which(compiler) is None:
        sys.exit(f"No C++ compiler ({compiler}) was found, and mmcv's ops need one: `apt-get install g++`, or set CXX.")
    say(f'setting up {env.folder} ({kind}); it may be interrupted')
    env.write_mark(stack=stack, recipe='', ops=False)
    if mark.get('running') or not env.runs(f'import sys, pip; assert sys.version.startswith("{PYTHON}.")'):
        if set(os.listdir(env.folder)) != {MARK}:
            say(f'what is in {env.folder} is incomplete or from another Python: making it again from the start')
        env.empty()
        env.step(f'virtual environment, Python {PYTHON}', '5 seconds', [sys.executable, '-m', 'venv', env.folder])
    install(env, stack, torch_index)
    if ops and not env.runs(LOAD_OPS):
        install_ops(env, stack, wheels)
    report = [env.python, '-m', 'mmuniqrnet.env']
    env.step('check', '5 seconds', report if ops else [*report, '--without-ops'])
    env.write_mark(recipe=wanted, ops=ops)
    say(f'{env.folder} is ready, after {time.monotonic() - begin:.0f} s: `source {env.folder}/bin/activate` selects it')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--venv', type=Path, required=True, help='folder of the virtual environment')
    parser.add_argument('--stack', default='onedl', help='onedl (the default) or openmmlab')
    parser.add_argument('--ops', action='store_true', help="compile mmcv's ops")
    parser.add_argument('--mmcv-wheels', default='', help='folder or page with a wheel of mmcv with its ops')
    parser.add_argument('--torch-index', default='', help='package index for torch alone')
    parser.add_argument('--remove', action='store_true', help='remove the environment instead, if it is ours')
    options = parser.parse_args()
    folder = Path(os.path.abspath(options.venv))
    if options.remove:
        if (folder / MARK).exists():
            Environment(folder).empty()
            shutil.rmtree(folder)  # the mark goes last: an interrupted removal can be repeated
            say(f'removed {folder}')
    elif PYTHON not in ('3.10', '3.11', '3.12'):
        sys.exit(f'mmuniqrnet is made for Python 3.10 to 3.12, not {PYTHON}: name another, as in PYTHON=python3.11.')
    elif options.stack not in STACKS:
        sys.exit(f'STACK={options.stack} is not known: give STACK=onedl or STACK=openmmlab.')
    else:
        make(Environment(folder), options.stack, options.ops, options.torch_index, options.mmcv_wheels)


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('[env] interrupted; the same `make` command makes the environment again')

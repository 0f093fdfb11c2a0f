"""The Dockerfile and the dev container name what exists, and agree with ``tools/make_env.py``. Nothing is built."""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / 'Dockerfile').read_text()
# Instructions without comments, each in one line.
INSTRUCTIONS = [
    line for line in re.sub(r'^#.*\n', '', TEXT, flags=re.MULTILINE).replace('\\\n', ' ').splitlines() if line.strip()
]


def instructions(name: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in INSTRUCTIONS if line.startswith(f'{name} ')]


def defaults() -> dict[str, set[str]]:
    """The defaults of each build argument, of which there may be one in each stage."""
    found: dict[str, set[str]] = {}
    for line in instructions('ARG'):
        name, equals, value = line.partition('=')
        if equals:
            found.setdefault(name, set()).add(value.strip('"'))
    return found


@pytest.fixture(scope='module')
def make_env():
    spec = importlib.util.spec_from_file_location('make_env', ROOT / 'tools' / 'make_env.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_and_targets_exist():
    for line in instructions('COPY'):
        *sources, _ = [word for word in shlex.split(line) if not word.startswith('--')]
        if '--from=' not in line:
            assert all((ROOT / source).exists() for source in sources), line
    makefile = (ROOT / 'Makefile').read_text()
    made = [command for line in instructions('RUN') for command in re.findall(r'make ((?:\w|-)+)(.*)', line)]
    assert made
    for target, settings in made:
        assert re.search(f'^{target}:', makefile, re.MULTILINE)
        assert all(f'\n{name} ?=' in makefile for name in re.findall(r'(\w+)=', settings))
    variables = {name for line in instructions('ENV') for name in re.findall(r'(\w+)=', line)}
    assert {'PYTHON', 'STACK', 'VENV', 'TORCH_INDEX'} <= variables
    assert all(f'\n{name} ?=' in makefile for name in ('PYTHON', 'STACK', 'VENV', 'TORCH_INDEX'))


def test_early_files_are_all_that_the_environment_is_made_from(tmp_path, make_env):
    """The mark of the environment stays valid when the other files are added, so `make env` has nothing to do then."""
    stage = TEXT.partition('AS environment')[2].partition('\nFROM ')[0]
    for line in re.findall(r'^COPY (.+)$', stage, re.MULTILINE):
        *sources, target = [word for word in line.split() if not word.startswith('--')]
        for source in sources:
            to = tmp_path / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to)
            else:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, to)
    for path in (make_env.REQUIREMENTS, ROOT / 'setup.py'):
        assert (tmp_path / path.relative_to(ROOT)).exists()
    done = subprocess.run(
        [make_env.sys.executable, '-m', 'mmuniqrnet.env'],
        cwd=tmp_path,
        env=make_env.VARIABLES,
        capture_output=True,
        text=True,
    )
    assert 'mmuniqrnet' in done.stdout and 'Traceback' not in done.stderr, done.stderr


def test_build_arguments_agree_with_the_environment(make_env):
    values = defaults()
    assert all(len(one) == 1 for name, one in values.items() if name != 'TORCH_INDEX')
    assert values['STACK'] == {make_env.STACKS[0]}
    assert values['PYTHON'] <= {f'python{version}' for version in ('3.10', '3.11', '3.12')}
    (cuda,) = values['CUDA']
    short = 'cu' + ''.join(cuda.split('.')[:2])
    assert {index.rsplit('/', 1)[1] for index in values['TORCH_INDEX']} == {'cpu', short}
    stages = {line.rpartition(' AS ')[2] for line in instructions('FROM')}
    assert {f'compiler-{device}' for device in ('cpu', 'cuda')} <= stages


def test_bases_are_pinned_and_nothing_runs_as_root():
    stages = {line.rpartition(' AS ')[2] for line in instructions('FROM')}
    for line in instructions('FROM'):
        image = line.partition(' AS ')[0]
        assert image == 'compiler-${DEVICE}' or re.search(r':(\$\{\w+\}|[\w.-]+)', image), line
        assert ':latest' not in image
    assert re.fullmatch(r'\w+-20\d{6}', *defaults()['UBUNTU'])
    last = TEXT.rpartition('\nFROM ')[2]
    assert re.findall(r'^USER (\S+)', last, re.MULTILINE) == ['1000:1000']
    assert len(stages) == 4


def test_what_git_ignores_is_not_sent_to_the_daemon():
    ignored = [line for line in (ROOT / '.gitignore').read_text().splitlines() if not line.startswith('!')]
    docker = (ROOT / '.dockerignore').read_text()
    for line in ignored:
        name = line.strip('/')
        assert re.search(rf'^(\*\*/)?{re.escape(name)}$', docker, re.MULTILINE), line
    for kept in re.findall(r'^!(.+)$', docker, re.MULTILINE):
        assert (ROOT / kept).exists()


def test_dev_container_uses_a_stage_and_targets_that_exist():
    settings = json.loads((ROOT / '.devcontainer' / 'devcontainer.json').read_text())
    build = settings['build']
    assert (ROOT / '.devcontainer' / build['dockerfile']).resolve() == ROOT / 'Dockerfile'
    assert f' AS {build["target"]}\n' in TEXT
    assert set(build['args']) <= set(defaults())
    # The package is linked to the folder in which the environment was made.
    assert f'WORKDIR {settings["workspaceFolder"]}\n' in TEXT
    assert f'target={settings["workspaceFolder"]},' in settings['workspaceMount']
    assert settings['customizations']['vscode']['settings']['python.defaultInterpreterPath'].startswith('/opt/venv/')

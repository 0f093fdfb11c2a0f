import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / 'tools' / 'make_env.py'
spec = importlib.util.spec_from_file_location('make_env', TOOL)
make_env = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_env)


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True)


def write_mark(folder: Path, **values: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / make_env.MARK).write_text(json.dumps(values))


def test_folder_of_someone_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / 'thesis.tex').write_text('my only copy')
    for more in ([], ['--remove']):
        done = run('--venv', str(tmp_path), *more)
        assert (tmp_path / 'thesis.tex').read_text() == 'my only copy'
        if not more:
            assert done.returncode == 1
            assert done.stderr.strip() == (
                f'{tmp_path} holds files that `make` did not put there: name another folder with VENV=.'
            )
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']


def test_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / 'venv').write_text('')
    done = run('--venv', str(tmp_path / 'venv'))
    assert done.returncode == 1
    assert done.stderr.strip() == (f'{tmp_path / "venv"} cannot be made (File exists): name another folder with VENV=.')


def test_other_stack_in_the_folder_is_refused(tmp_path):
    write_mark(tmp_path, stack='openmmlab', recipe='x', ops=True)
    done = run('--venv', str(tmp_path), '--stack', 'onedl')
    assert done.returncode == 1
    assert done.stderr.startswith(f'{tmp_path} holds STACK=openmmlab')
    assert len(done.stderr.splitlines()) == 1
    assert json.loads((tmp_path / make_env.MARK).read_text()) == dict(stack='openmmlab', recipe='x', ops=True)


def test_unknown_stack_makes_no_folder(tmp_path):
    done = run('--venv', str(tmp_path / 'venv'), '--stack', 'mmlab')
    assert done.returncode == 1
    assert 'STACK=onedl or STACK=openmmlab' in done.stderr
    assert not (tmp_path / 'venv').exists()


def test_own_folder_is_removed_whole(tmp_path):
    folder = tmp_path / 'venv'
    (folder / 'lib').mkdir(parents=True)
    write_mark(folder, stack='onedl')
    (folder / 'lib64').symlink_to('lib')
    assert run('--venv', str(folder), '--remove').returncode == 0
    assert not folder.exists()


def test_second_process_waits_for_the_first(tmp_path):
    write_mark(tmp_path, stack='openmmlab')
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    command = [sys.executable, TOOL, '--venv', tmp_path, '--stack', 'onedl']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert 'waiting for it' in process.stdout.readline()
        assert process.poll() is None
        os.close(handle)
        assert 'holds STACK=openmmlab' in process.communicate(timeout=60)[1]


def test_light_request_keeps_compiled_ops(tmp_path, capsys):
    """An environment marked as finished with ops is ready for either request."""
    (tmp_path / 'bin').mkdir()
    # A Python that imports this very mmuniqrnet, as the one of a finished environment does.
    python = tmp_path / 'bin' / 'python'
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    recipe = make_env.recipe('onedl', '')
    write_mark(tmp_path, stack='onedl', recipe=recipe, ops=True, running='')
    env = make_env.Environment(tmp_path)
    for ops in (False, True):
        make_env.make(env, 'onedl', ops, '', '')
        assert capsys.readouterr().out == f'[env] {tmp_path} is ready (STACK=onedl, mmcv with compiled ops)\n'
    assert json.loads((tmp_path / make_env.MARK).read_text())['ops'] is True


@pytest.mark.parametrize('stack', make_env.STACKS)
def test_recipe_depends_on_what_the_stack_is_made_from_and_on_nothing_else(tmp_path, monkeypatch, stack):
    folder = tmp_path / 'requirements'
    shutil.copytree(ROOT / 'requirements', folder)
    monkeypatch.setattr(make_env, 'REQUIREMENTS', folder)
    before = make_env.recipe(stack, '')
    other = {'onedl': 'openmmlab', 'openmmlab': 'onedl'}[stack]
    changes = {}
    for path in sorted(folder.iterdir()):
        text = path.read_text()
        path.write_text(text + 'six==1.0\n')
        changes[path.stem] = make_env.recipe(stack, '') != before
        path.write_text(text)
    assert make_env.recipe(stack, '') == before
    assert {name for name, changed in changes.items() if changed} == (
        {'build', 'torch', 'common', stack} | ({'onedl-nodeps'} if stack == 'onedl' else set())
    )
    assert make_env.recipe(stack, 'https://example.org') != before
    assert make_env.recipe(other, '') != before

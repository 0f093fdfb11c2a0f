import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / 'tools' / 'make_env.py'
spec = importlib.util.spec_from_file_location('make_env', TOOL)
make_env = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_env)


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True)


def put_package(env: make_env.Environment) -> Path:
    """Copy an installed package, as pip left it, into an environment's folder."""
    source = Path(sysconfig.get_paths()['purelib'])
    (info,) = source.glob('terminaltables-*.dist-info')
    for path in (info, source / 'terminaltables'):
        shutil.copytree(path, env.site / path.name)
    return env.site / info.name


@pytest.mark.parametrize('damage', ['none', 'truncated file', 'lost file', 'no INSTALLER', 'no RECORD'])
def test_half_written_package_is_forgotten_and_a_whole_one_kept(tmp_path, damage):
    env = make_env.Environment(tmp_path, 'onedl')
    info = put_package(env)
    (env.site / '~erminaltables').mkdir()
    if damage == 'truncated file':
        (env.site / 'terminaltables' / 'base_table.py').write_text('')
    elif damage == 'lost file':
        (env.site / 'terminaltables' / 'base_table.py').unlink()
    elif damage.startswith('no '):
        (info / damage.removeprefix('no ')).unlink()
    removed = env.remove_half_written()
    assert info.exists() == (damage == 'none')
    assert len(removed) == (damage != 'none')
    assert not (env.site / '~erminaltables').exists()


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


def test_other_stack_in_the_folder_is_refused(tmp_path):
    (tmp_path / make_env.MARK).write_text(json.dumps(dict(stack='openmmlab', finished='x')))
    done = run('--venv', str(tmp_path), '--stack', 'onedl')
    assert done.returncode == 1
    assert done.stderr.startswith(f'{tmp_path} holds STACK=openmmlab')
    assert len(done.stderr.splitlines()) == 1


def test_own_folder_is_removed_whole(tmp_path):
    folder = tmp_path / 'venv'
    (folder / 'lib').mkdir(parents=True)
    (folder / make_env.MARK).write_text(json.dumps(dict(stack='onedl', finished='')))
    (folder / make_env.LOG).write_text('')
    (folder / 'lib64').symlink_to('lib')
    assert run('--venv', str(folder), '--remove').returncode == 0
    assert not folder.exists()


def test_recipe_changes_with_stack_and_index_only_where_it_should():
    recipes = [make_env.recipe(stack, index) for stack in make_env.STACKS for index in ('', 'https://example.org')]
    assert len(set(recipes)) == 4
    assert make_env.recipe('onedl', '') == recipes[0]

"""Settings that are repeated in files of other services agree with their owner in this repository."""

import ast
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text())


def test_pre_commit_has_the_versions_of_make_lint():
    pins = set((ROOT / 'requirements' / 'lint.txt').read_text().splitlines())
    hooks = [hook for repo in read('.pre-commit-config.yaml')['repos'] for hook in repo['hooks']]
    linters = {pin for hook in hooks for pin in hook['additional_dependencies'] if 'pre-commit' not in pin}
    assert {pin.partition('==')[0] for pin in linters} == {'ruff', 'codespell'}
    assert linters <= pins


def test_workflow_tests_every_supported_python_and_stack():
    matrix = read('.github/workflows/test.yml')['jobs']['test']['strategy']['matrix']
    assert matrix['python'] == re.findall(r'Python :: (3\.\d+)', (ROOT / 'setup.py').read_text())
    makefile = (ROOT / 'Makefile').read_text()
    assert '|'.join(matrix['stack']) in makefile


def test_workflows_run_commands_of_the_makefile():
    makefile = (ROOT / 'Makefile').read_text()
    for path in (ROOT / '.github' / 'workflows').iterdir():
        targets = re.findall(r'run: make ([\w -]+)', path.read_text())
        assert targets, path.name
        assert all(re.search(f'^{target}:', makefile, re.MULTILINE) for line in targets for target in line.split())


def test_only_a_tag_publishes_and_without_a_password():
    workflow = read('.github/workflows/release.yml')
    assert workflow[True] == {'push': {'tags': ['v*']}}  # YAML 1.1 reads "on" as true
    jobs = workflow['jobs']
    assert jobs['publish']['needs'] == 'build' and jobs['publish']['environment'] == 'pypi'
    assert jobs['publish']['permissions'] == {'id-token': 'write'}
    assert workflow['permissions'] == {'contents': 'read'} and 'permissions' not in jobs['build']
    text = (ROOT / '.github' / 'workflows' / 'release.yml').read_text()
    assert 'secrets.' not in text and not re.search(r'^\s+password:', text, re.MULTILINE)
    pins = (ROOT / 'requirements' / 'release.txt').read_text()
    assert all(f'\n{name}==' in pins for name in ('build', 'twine'))


def test_no_test_module_imports_another():
    modules = sorted((ROOT / 'tests').rglob('test_*.py'))
    names = {path.stem for path in modules}
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text())):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ''] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in found if name.split('.')[-1] in names or name.startswith('tests')], path

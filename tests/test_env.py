import base64
import hashlib
import importlib.machinery
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmuniqrnet.utils.env import Installation, find_problems, inspect_installation

ROOT = Path(__file__).resolve().parent.parent
OTHERS = {'torch': '2.13.0+cpu', 'transformers': '5.23.0', 'numpy': '2.2.6', 'pycocotools': '2.0.11'}
ONEDL = OTHERS | {
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmdetection': '3.5.1',
    'onedl-mmsegmentation': '1.4.2',
}
OPENMMLAB = OTHERS | {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmdet': '3.3.0', 'mmsegmentation': '1.2.2'}


def judge(versions: dict, **facts) -> list:
    return find_problems(Installation(versions=versions, **({'python': (3, 11, 7)} | facts)))


@pytest.mark.parametrize('versions', [ONEDL, OPENMMLAB])
def test_tested_stacks_are_without_problem_even_without_compiler(versions):
    assert judge(versions) == []
    assert judge(versions, compiler=False) == []


@pytest.mark.parametrize(
    ('versions', 'facts', 'what', 'fix'),
    [
        (OPENMMLAB | {'mmcv': '2.2.0'}, {}, 'refuse mmcv 2.2', 'mmcv==2.1.0'),
        (OPENMMLAB | {'mmcv': '2.0.1'}, {}, 'mmcv 2.0.1 is too old', 'mmcv==2.1.0'),
        (OPENMMLAB, {'mmcv_ops': 'missing'}, 'mmcv 2.1.0 has no compiled ops', 'MMCV_WITH_OPS=1'),
        (ONEDL, {'mmcv_ops': 'missing'}, 'onedl-mmcv 2.3.6 has no compiled ops', 'onedl-mmcv==2.3.6'),
        (ONEDL, {'mmcv_ops': 'missing'}, 'has no compiled ops', '`python -m mmuniqrnet.env --without-ops`'),
        (
            ONEDL | {'mmcv': '2.1.0'},
            {},
            'onedl-mmcv, onedl-mmdetection, onedl-mmsegmentation, mmcv',
            'pip uninstall -y',
        ),
        (ONEDL | {'torch': '1.13.1'}, {}, 'torch 1.13.1 is too old', 'newer torch'),
        (ONEDL | {'torch': '2.5.1'}, {}, 'torch 2.6 or later only', 'transformers>=4.40,<5'),
        (ONEDL | {'transformers': '4.39.3'}, {}, 'transformers 4.39.3 is too old', 'transformers>=4.40'),
        (ONEDL | {'transformers': '4.57.1', 'torch': '2.2.2'}, {}, 'compiled for numpy 1', 'numpy<2'),
        (ONEDL | {'pycocotools': '2.0.6'}, {}, 'pycocotools 2.0.6 is too old', 'pycocotools>=2.0.7'),
        (OTHERS, {}, 'onedl-mmengine, onedl-mmcv', 'make env'),
        (
            {k: v for k, v in OPENMMLAB.items() if k != 'mmsegmentation'},
            {},
            'Not installed: mmsegmentation',
            'STACK=openmmlab',
        ),
        (ONEDL, {'python': (3, 9, 18)}, 'Python 3.9.18', 'PYTHON='),
    ],
)
def test_each_fault_is_named_alone_with_its_fix(versions, facts, what, fix):
    problems = judge(versions, **facts)
    assert len(problems) == 1
    assert what in problems[0].what
    assert fix in problems[0].fix
    assert problems[0].fatal


def test_newer_python_and_missing_compiler_are_notes():
    assert [problem.fatal for problem in judge(ONEDL, python=(3, 13, 0))] == [False]
    problems = judge(ONEDL, compiler=False, mmcv_ops='missing')
    assert [problem.fatal for problem in problems] == [True, False]
    assert 'g++' in problems[1].fix


def test_placeholder_is_enough():
    assert judge(ONEDL, mmcv_ops='placeholder', compiler=False) == []


@pytest.mark.parametrize('torch', ['2.10.0', '2.1.0a0+32f93b1', '2.6.0rc1+cu121', 'unknown'])
def test_versions_are_ordered_as_numbers_and_builds_count_as_their_release(torch):
    assert judge(OPENMMLAB | {'mmdet': '3.10.0', 'torch': torch, 'transformers': '4.57.1', 'numpy': '1.26.4'}) == []


def run_with(shim: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=shim,
        env={'PYTHONPATH': f'{shim}:{ROOT}', 'PATH': '/usr/bin:/bin'},
    )


def add_distribution(shim: Path, name: str, version: str) -> None:
    info = shim / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


def test_this_environment_imports(tmp_path):
    done = run_with(tmp_path, '-c', 'import mmuniqrnet')
    assert done.returncode == 0, done.stderr


def test_both_stacks_are_found_and_import_gives_one_sentence(tmp_path):
    add_distribution(tmp_path, 'mmcv', '2.2.0')
    add_distribution(tmp_path, 'onedl-mmcv', '2.3.6')
    report = run_with(tmp_path, '-m', 'mmuniqrnet.env')
    assert report.returncode == 1
    assert 'mmcv 2.2.0' in report.stdout
    assert 'wrong: Two OpenMMLab stacks' in report.stdout
    assert report.stderr == ''
    done = run_with(tmp_path, '-c', 'import mmuniqrnet')
    assert done.returncode == 1
    assert re.match(
        r'ImportError: Two OpenMMLab stacks .*`\. See `python -m mmuniqrnet\.env`\.$', done.stderr.splitlines()[-1]
    )
    assert 'site-packages' not in done.stderr
    assert run_with(tmp_path, '-c', 'import mmuniqrnet.registry').returncode == 1


def add_mmcv(shim: Path, *files: str) -> Path:
    """An importable mmcv of the same stack as the installed one, with pip's list of its files."""
    found = inspect_installation()
    (shim / 'mmcv').mkdir()
    (shim / 'mmcv' / '__init__.py').write_text('')
    for file in files:
        (shim / 'mmcv' / file).write_text('not compiled for this torch')
    add_distribution(shim, found.mmcv, found.versions[found.mmcv])
    (info,) = shim.glob('*.dist-info')
    (info / 'RECORD').write_text(f'mmcv/__init__.py,,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n')
    return info / 'RECORD'


def test_mmcv_without_ops_is_found_by_its_folder(tmp_path):
    add_mmcv(tmp_path)
    (tmp_path / 'mmcv' / '__init__.py').write_text('raise RuntimeError("imported")')
    done = run_with(tmp_path, '-c', 'import mmuniqrnet')
    assert done.returncode == 1
    assert 'has no compiled ops, and mmdet cannot be imported without them' in done.stderr.splitlines()[-1]


def test_placeholder_is_written_once_reported_and_known_to_pip(tmp_path):
    record = add_mmcv(tmp_path)
    first = run_with(tmp_path, '-m', 'mmuniqrnet.env', '--without-ops')
    assert first.returncode == 0, first.stdout + first.stderr
    assert 'without compiled ops is enough for mmuniqrnet' in first.stdout
    content = (tmp_path / 'mmcv' / '_ext.py').read_bytes()
    name, digest, size = record.read_text().splitlines()[-1].split(',')
    assert (name, int(size)) == ('mmcv/_ext.py', len(content))
    assert digest == 'sha256=' + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')
    again = run_with(tmp_path, '-m', 'mmuniqrnet.env', '--without-ops')
    assert (again.returncode, 'wrote' in again.stdout) == (0, False)
    assert len(record.read_text().splitlines()) == 4
    assert run_with(tmp_path, '-c', 'import mmuniqrnet').returncode == 0


def test_placeholder_has_every_function_and_each_says_how_to_build_the_ops(tmp_path):
    add_mmcv(tmp_path)
    run_with(tmp_path, '-m', 'mmuniqrnet.env', '--without-ops')
    code = (
        'import mmcv._ext as ext; assert hasattr(ext, "roi_align_forward") and not hasattr(ext, "__path__")\n'
        'ext.roi_align_forward(1, output=2)'
    )
    done = run_with(tmp_path, '-c', code)
    assert re.match(
        r"RuntimeError: .*'roi_align_forward'.*`make env OPS=1`.*`pip install ", done.stderr.splitlines()[-1]
    )


@pytest.mark.parametrize('file', ['_ext.py', f'_ext{importlib.machinery.EXTENSION_SUFFIXES[0]}'])
def test_placeholder_never_replaces_what_is_there(tmp_path, file):
    add_mmcv(tmp_path, file)
    done = run_with(tmp_path, '-m', 'mmuniqrnet.env', '--without-ops')
    assert done.returncode == 1
    assert 'No placeholder was written: ' in done.stdout
    assert (tmp_path / 'mmcv' / file).read_text() == 'not compiled for this torch'
    assert sorted(path.name for path in (tmp_path / 'mmcv').glob('_ext*')) == [file]


def test_mmcv_compiled_for_another_torch_is_found_by_the_command(tmp_path):
    add_mmcv(tmp_path, f'_ext{importlib.machinery.EXTENSION_SUFFIXES[0]}')
    done = run_with(tmp_path, '-m', 'mmuniqrnet.env')
    assert done.returncode == 1
    assert 'only fit the torch they were built with (ImportError: ' in done.stdout
    assert '--force-reinstall' in done.stdout


def test_check_at_import_imports_nothing_that_it_checks(tmp_path):
    code = 'import sys, mmuniqrnet; print(*sorted({name.split(".")[0] for name in sys.modules}))'
    done = run_with(tmp_path, '-c', code)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert 'mmuniqrnet' in loaded
    assert not loaded & {'torch', 'numpy', 'cv2', 'transformers', 'pycocotools', 'mmengine', 'mmcv', 'mmdet', 'mmseg'}

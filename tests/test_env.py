import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmuniqrnet.env import Installation, find_problems, release

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
    ('versions', 'facts', 'what', 'mend'),
    [
        (OPENMMLAB | {'mmcv': '2.2.0'}, {}, 'refuse mmcv 2.2', 'mmcv==2.1.0'),
        (OPENMMLAB | {'mmcv': '2.0.1'}, {}, 'mmcv 2.0.1 is too old', 'mmcv==2.1.0'),
        (OPENMMLAB, {'mmcv_has_ops': False}, 'without its compiled ops', 'MMCV_WITH_OPS=1'),
        (ONEDL, {'mmcv_has_ops': False}, 'without its compiled ops', 'onedl-mmcv==2.3.6'),
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
def test_each_fault_is_named_alone_with_its_mend(versions, facts, what, mend):
    problems = judge(versions, **facts)
    assert len(problems) == 1
    assert what in problems[0].what
    assert mend in problems[0].mend
    assert problems[0].fatal


def test_newer_python_and_missing_compiler_are_notes():
    assert [problem.fatal for problem in judge(ONEDL, python=(3, 13, 0))] == [False]
    without = {name: version for name, version in ONEDL.items() if name != 'onedl-mmcv'}
    problems = judge(without, compiler=False, mmcv_has_ops=False)
    assert [problem.fatal for problem in problems] == [True, False]
    assert 'g++' in problems[1].mend


def test_version_order_is_numeric():
    assert release('2.10.0rc1+cu121') == (2, 10, 0)
    assert judge(OPENMMLAB | {'mmdet': '3.10.0', 'torch': '2.10.0'}) == []


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


def test_mmcv_without_ops_is_found_by_its_folder(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('raise RuntimeError("imported")')
    done = run_with(tmp_path, '-c', 'import mmuniqrnet')
    assert done.returncode == 1
    assert 'without its compiled ops' in done.stderr.splitlines()[-1]


def test_mmcv_compiled_for_another_torch_is_found_by_the_command(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    (tmp_path / 'mmcv' / '_ext.py').write_text('raise ImportError("undefined symbol: _ZN3c10")')
    done = run_with(tmp_path, '-m', 'mmuniqrnet.env')
    assert done.returncode == 1
    assert 'only fit the torch they were built with (ImportError: undefined symbol: _ZN3c10)' in done.stdout
    assert '--force-reinstall' in done.stdout


def test_check_is_fast(tmp_path):
    code = (
        'import time, importlib.metadata; begin = time.process_time(); import mmuniqrnet; '
        'print(time.process_time() - begin)'
    )
    seconds = min(float(run_with(tmp_path, '-c', code).stdout) for _ in range(3))
    assert seconds < 0.05

"""Jobs of torchrun with two processes on the CPU: the training and the test, and what happens when one rank fails."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.main_job import options
from helpers.paths import NANO_CONFIG

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 20
DIST_TRAIN, DIST_TEST = (str(ROOT / 'tools' / name) for name in ('dist_train.sh', 'dist_test.sh'))


def start(*words: object, **environment: str) -> tuple[int, str]:
    """Run a command to its end; the exit status, and what it said."""
    alone = {name: value for name, value in os.environ.items() if name not in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE')}
    paths = [str(ROOT), str(ROOT / 'tests'), *filter(None, [os.environ.get('PYTHONPATH')])]
    environment = dict(
        alone, OMP_NUM_THREADS='1', PYTHON=sys.executable, PYTHONPATH=os.pathsep.join(paths), **environment
    )
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=300,
    )
    return done.returncode, done.stdout


def faulty_config(folder: Path, how: str, at: int) -> Path:
    path = folder / f'{how}.py'
    path.write_text(
        f'_base_ = [{str(NANO_CONFIG)!r}]\n'
        "custom_imports = dict(imports=['helpers.faulty'])\n"
        f"fault = dict(type='FailsOnRank1', how={how!r}, at={at})\n"
        'train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_dataloader.dataset.pipeline, fault]))\n'
    )
    return path


def processes_of(folder: Path) -> list[int]:
    """Ids of the processes whose command line names a folder."""
    found = []
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found += [int(entry.name)] * (str(folder).encode() in (entry / 'cmdline').read_bytes())
            except OSError:
                continue
    return found


def wait_for_no_process(folder: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while processes_of(folder) and time.monotonic() < end:
        time.sleep(0.5)
    assert not processes_of(folder)


def test_a_sentence_is_printed_once_and_ends_the_job():
    status, said = start(DIST_TRAIN, 'no_such_config.py', 2)
    assert status != 0
    printed = [line for line in said.splitlines() if line.startswith('error:')]
    assert len(printed) == 1 and printed[0].startswith('error: there is no config no_such_config.py')


@pytest.mark.parametrize('script, words', [(DIST_TRAIN, ['a.py']), (DIST_TEST, ['a.py', 'a.pth'])])
def test_scripts_say_what_they_need(script, words):
    status, said = start(script, *words)
    assert status == 2 and said.startswith(f'usage: tools/{Path(script).name} CONFIG ')
    for number in ('0', 'two'):
        status, said = start(script, *words, number)
        assert status == 2 and f'at least 1, not {number}' in said


@pytest.mark.slow
def test_two_processes_train_and_test_as_one(data, tmp_path):
    for name, launch, batch in (
        ('one', [sys.executable, ROOT / 'tools' / 'train.py', NANO_CONFIG], 4),
        ('two', None, 2),
    ):
        launch = launch or [DIST_TRAIN, NANO_CONFIG, 2]
        given = [*options(data, name, 4), f'train_dataloader.batch_size={batch}', 'val_dataloader.batch_size=3']
        given += ['custom_hooks.0.strategy=magnitude']
        status, said = start(*launch, '--work-dir', tmp_path / name, '--cfg-options', *given)
        assert status == 0, said
        assert 'terminate called' not in said and 'Traceback' not in said
    one, two = (torch.load(tmp_path / name / 'iter_4.pth', weights_only=False) for name in ('one', 'two'))
    for name, value in one['state_dict'].items():
        assert torch.allclose(two['state_dict'][name], value, rtol=1e-2, atol=1e-3), name
    assert two['loss_balance']['weights'] == pytest.approx(one['loss_balance']['weights'], rel=1e-3)
    # The number of expressions is odd: one is loaded twice, and counted once.
    tables = []
    for launch in ([sys.executable, ROOT / 'tools' / 'test.py', NANO_CONFIG], [DIST_TEST, NANO_CONFIG]):
        folder = tmp_path / f'tested{len(tables)}'
        words = [*launch, tmp_path / 'one' / 'iter_4.pth', *([2] if launch[0] == DIST_TEST else [])]
        status, said = start(*words, '--work-dir', folder, '--cfg-options', *options(data, folder.name, 4))
        assert status == 0 and 'terminate called' not in said, said
        tables.append(json.loads((folder / 'results.json').read_text()))
        assert said.count('written to') == 1
    for row, same in zip(*(table['rows'] for table in tables), strict=True):
        assert row.keys() == same.keys() and row['N'] == same['N'] and row['set'] == same['set']
        numbers = {name: value for name, value in row.items() if isinstance(value, float)}
        assert {name: same[name] for name in numbers} == pytest.approx(numbers, abs=0.01, nan_ok=True)
    assert any(row['N'] % 2 for row in tables[0]['rows'])


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize(
    'how, reason',
    [
        ('hang', r'rank +: 0 .*\n.*exitcode +: 1(.*\n)*?.*Timed out waiting'),
        ('kill', r'rank +: 1 .*\n.*exitcode +: -9 .*SIGKILL'),
        ('sentence', r'rank +: 1 .*\n.*exitcode +: 1(.*\n)*?.*error: picture 7 is broken\.'),
        ('bug', r"rank +: 1 .*\n.*exitcode +: 1(.*\n)*?.*KeyError: .*(.*\n)*?.*'a bug'"),
    ],
)
def test_a_failed_rank_ends_the_job_with_the_reason(how, reason, workers, data, tmp_path):
    config, work_dir = faulty_config(tmp_path, how, at=11), tmp_path / 'run'
    given = [*options(data, how, 1000), f'train_dataloader.num_workers={workers}', 'train_dataloader.batch_size=2']
    given += ['default_hooks.checkpoint.interval=1', 'default_hooks.checkpoint.max_keep_ckpts=1']
    given += [f'env_cfg.dist_cfg.timeout={TIMEOUT}']
    failed = tmp_path / 'failed'
    status, said = start(DIST_TRAIN, config, 2, '--work-dir', work_dir, '--cfg-options', *given, FAILED=str(failed))
    assert status == 1 and failed.exists(), said
    assert time.time() - failed.stat().st_mtime < 60 + (how == 'hang') * TIMEOUT
    cause = said[said.index('Root Cause (first observed failure):') :]
    assert re.search(reason, cause), said
    if how in ('sentence', 'bug'):
        assert re.search(r'error(: | on )rank 1 of 2 \(.*, process \d+\):', said), said
    wait_for_no_process(work_dir, 15)
    saved = sorted(path.name for path in work_dir.glob('*.pth'))
    assert saved, said
    latest = Path((work_dir / 'last_checkpoint').read_text())
    assert latest.is_file()
    for path in work_dir.glob('*.pth'):
        assert torch.load(path, weights_only=False)['meta']['iter'] > 0
